"""Causal attention over packed windows: a softmax, or each weight by itself.

    softmax      mixed = softmax(q . k / sqrt K) v
    pointwise    mixed = sum of silu(q . k / sqrt K) v over what is seen, divided by its number

Without the softmax a position that saw ten good matches gathers more than one that saw a single
one. Division is by the number of positions seen, which is known when the position is: neither the
padding nor what follows changes it.
A bias by distance is added to the scores before either.
Shape suffixes: P positions, S positions of a group, B windows of a group, L positions of its
longest, C chunks, Q queries and M keys of a chunk, H heads, K head width. Sources: rotary positions
(arXiv:2104.09864, sec. 3.4), pointwise attention (arXiv:2402.17152, sec. 3; its public code divides
by the longest length, and scales by sqrt K in its kernels).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config.model import ModelConfig
from training.model.bias import RelativeBias
from training.model.jagged import Group
from training.model.sight import Sight

Angles = tuple[Tensor, Tensor]


def rotary(position_P: Tensor, head_dim: int) -> Angles:
    """Return cosine and sine ``[P, 1, K/2]`` of every position's angles."""
    half = head_dim // 2
    steps_K = torch.arange(half, dtype=torch.float32, device=position_P.device)
    frequency_K = 10_000.0 ** (-steps_K / half)
    angle_PK = position_P[:, None].float() * frequency_K
    return angle_PK.cos()[:, None], angle_PK.sin()[:, None]


def rotate(x_PHK: Tensor, angles: Angles) -> Tensor:
    """Return ``x`` with its halves rotated against each other by the position's angles."""
    cosine, sine = angles
    first, second = x_PHK.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


def rotate_queries_and_keys(qkv_PX: Tensor, angles: Angles | None, num_heads: int) -> Tensor:
    """Return queries, keys and values side by side, the first two rotated."""
    if angles is None:
        return qkv_PX
    qkv_PHK = qkv_PX.view(len(qkv_PX), 3 * num_heads, -1)
    q_k_PHK, v_PHK = torch.split(qkv_PHK, [2 * num_heads, num_heads], dim=1)
    return torch.cat([rotate(q_k_PHK, angles), v_PHK], dim=1).flatten(1)


class Attention(nn.Module):
    """What each position gathers from itself and those before it, head by head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads, self.head_dim = config.num_heads, config.head_dim
        self.is_pointwise = config.block == "hstu"
        self.bias = RelativeBias(config) if config.relative_bias else None

    def forward(self, qkv_SX: Tensor, group: Group, sight: Sight | None) -> Tensor:
        """Return ``[S, H * K]`` of a group's queries, keys and values.

        Without a ``sight``, each position sees all before it, and there is no bias.
        """
        B, L = group.place_BL.shape
        q_BHLK, k_BHLK, v_BHLK = (
            group.rows(qkv_SX)
            .view(B, L, 3, self.num_heads, self.head_dim)
            .permute(2, 0, 3, 1, 4)
            .unbind(0)
        )
        if sight is None:
            mixed_BHLK = F.scaled_dot_product_attention(q_BHLK, k_BHLK, v_BHLK, is_causal=True)
        else:
            reach = sight.reach
            mixed_BHLK = reach.rows(
                self.attend(reach.queries(q_BHLK), reach.keys(k_BHLK), reach.keys(v_BHLK), sight)
            )
        return group.flat(mixed_BHLK.transpose(1, 2).reshape(B, L, -1))

    def attend(self, q_BHCQK: Tensor, k_BHCMK: Tensor, v_BHCMK: Tensor, sight: Sight) -> Tensor:
        """Return ``[B, H, C, Q, K]``: what each query gathers from the keys that it sees."""
        return self.weights((q_BHCQK * self.head_dim**-0.5) @ k_BHCMK.mT, sight) @ v_BHCMK

    def weights(self, score_BHCQM: Tensor, sight: Sight) -> Tensor:
        """Return what each key counts for each query, ``[B, H, C, Q, M]``; unseen ones nothing."""
        bias_BHCQM = None if self.bias is None else self.bias(sight)
        if self.is_pointwise:
            if bias_BHCQM is not None:
                score_BHCQM = score_BHCQM + bias_BHCQM
            is_seen_BHCQM = (~sight.hidden_BHCQM).to(score_BHCQM.dtype)
            share_BHCQM: Tensor = is_seen_BHCQM / is_seen_BHCQM.sum(dim=-1, keepdim=True)
            return F.silu(score_BHCQM) * share_BHCQM
        if bias_BHCQM is None:
            bias_BHCQM = torch.zeros_like(sight.hidden_BHCQM, dtype=score_BHCQM.dtype)
        # hidden in the bias, which is small where all rows share it
        score_BHCQM = score_BHCQM + bias_BHCQM.masked_fill(sight.hidden_BHCQM, -math.inf)
        return score_BHCQM.softmax(dim=-1)


Mix = Callable[[Attention, Tensor], Tensor]
"""How a block's attention is applied to its flat queries, keys and values."""
