"""Attention for the last position of each window alone, as vectors are served.

Shape suffixes: W windows, P positions, S positions of a group, B windows of a group, L positions of
its longest, H heads, K head width, D model width, X several widths side by side.
"""

import torch
from torch import Tensor

from training.config.model import ModelConfig
from training.model.attention import Attention, Mix
from training.model.jagged import Group, Layout
from training.model.sight import Instants, sight_of_newest


def mix_at_the_ends(config: ModelConfig, layout: Layout, instants: Instants) -> Mix:
    """Return a mix that gives ``[W, D]`` of the queries, keys and values of all positions."""
    sizes = [len(group.real_S) for group in layout.groups]
    known, asked = (torch.split(at, sizes) for at in (instants.known_P, instants.asked_P))

    def of_group(
        qkv_SX: Tensor, group: Group, known_S: Tensor, asked_S: Tensor, attention: Attention
    ) -> Tensor:
        B, L = group.place_BL.shape
        row_B, at_B = torch.arange(B), group.lengths - 1
        last_B = group.place_BL[row_B, at_B]
        sight = sight_of_newest(
            config,
            at_B,
            known_S[group.place_BL],
            Instants(known_S[last_B], asked_S[last_B]),
        )
        qkv_BLHK = group.rows(qkv_SX).view(B, L, 3, config.num_heads, config.head_dim)
        k_BHLK, v_BHLK = qkv_BLHK[:, :, 1:].permute(2, 0, 3, 1, 4).unbind(0)
        q_BHK = qkv_BLHK[row_B, at_B, 0]
        mixed_BHCQK = attention.attend(
            q_BHK[:, :, None, None], k_BHLK[:, :, None], v_BHLK[:, :, None], sight
        )
        return mixed_BHCQK.flatten(1)

    def mix(attention: Attention, qkv_PX: Tensor) -> Tensor:
        each = [attention] * len(layout.groups)
        return layout.in_groups(qkv_PX, of_group, known, asked, each)

    return mix
