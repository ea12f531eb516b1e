"""The last layer for the last position of each window alone, as vectors are served.

One query a window needs no projection of what it meets. A weight moves from the many to the one::

    q . (W k)  =  (W' q) . k          unless positions turn W k, each by an angle of its own
    sum of a_i (W v_i)  =  W (sum of a_i v_i)

Shape suffixes: W windows, P positions, S positions of a group, B windows of a group, L positions of
its longest, H heads, K head width, D model width, X a width, G heads of keys or values: H, or 1
where all heads share them.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from training.config.model import ModelConfig
from training.model.attention import Angles, Attention, rotate
from training.model.jagged import Group, Layout
from training.model.sight import Instants, Sight, sight_of_newest


class Ends:
    """Last positions, and what they see."""

    def __init__(
        self, config: ModelConfig, layout: Layout, instants: Instants, angles: Angles | None
    ) -> None:
        self.layout, self.angles = layout, angles
        lengths = [group.lengths for group in layout.groups]
        self.last_W = torch.cat(lengths).cumsum(0) - 1
        sizes = [len(group.real_S) for group in layout.groups]
        each = zip(
            layout.groups,
            lengths,
            torch.split(instants.known_P, sizes),
            torch.split(instants.asked_P, sizes),
            strict=True,
        )
        self.sights = [_sight(config, *of_group) for of_group in each]

    def turned(self, x_PHK: Tensor) -> Tensor:
        """Return ``x`` rotated where positions are known by angles."""
        return x_PHK if self.angles is None else rotate(x_PHK, self.angles)

    def turned_queries(self, x_WHK: Tensor) -> Tensor:
        """Return ``x``, given at last positions, likewise."""
        if self.angles is None:
            return x_WHK
        cosine, sine = self.angles
        return rotate(x_WHK, (cosine[self.last_W], sine[self.last_W]))

    def gathered(
        self, attention: Attention, query_WD: Tensor, read_PD: Tensor, weights_XD: Tensor
    ) -> Tensor:
        """Return ``[W, D]``: what attention gathers of ``read``.

        ``weights_XD``: of keys and of values, ``[2 D, D]``, as a linear layer has them.
        """
        num_heads, width = attention.num_heads, read_PD.shape[1]
        of_key_HKD, of_value_HKD = weights_XD.view(2, num_heads, -1, width)
        query_WHK = query_WD.view(len(query_WD), num_heads, -1)
        shared_P1D = read_PD[:, None]
        if self.angles is None:
            query_WHX = torch.einsum("whk,hkd->whd", query_WHK, of_key_HKD)
            keys_PGX = shared_P1D
        else:
            query_WHX = self.turned_queries(query_WHK)
            keys_PD = F.linear(read_PD, of_key_HKD.flatten(0, 1))
            keys_PGX = self.turned(keys_PD.view(len(keys_PD), num_heads, -1))
        gathered_WHD = self.mixed(attention, query_WHX, keys_PGX, shared_P1D)
        return torch.einsum("whd,hkd->whk", gathered_WHD, of_value_HKD).flatten(1)

    def mixed(
        self, attention: Attention, query_WHX: Tensor, keys_PGX: Tensor, values_PGX: Tensor
    ) -> Tensor:
        """Return ``[W, H, X]``: values by how much each query means their keys."""
        sizes = [len(group.real_S) for group in self.layout.groups]
        windows = [len(group.place_BL) for group in self.layout.groups]
        each = zip(
            self.layout.groups,
            self.sights,
            torch.split(query_WHX, windows),
            torch.split(keys_PGX, sizes),
            torch.split(values_PGX, sizes),
            strict=True,
        )
        return torch.cat([_mixed(attention, *of_group) for of_group in each])


def _mixed(
    attention: Attention,
    group: Group,
    sight: Sight,
    query_BHX: Tensor,
    keys_SGX: Tensor,
    values_SGX: Tensor,
) -> Tensor:
    keys_BGLX = _in_rows(group, keys_SGX)
    values_BGLX = keys_BGLX if values_SGX is keys_SGX else _in_rows(group, values_SGX)
    B, H, _ = query_BHX.shape
    # heads that share their keys are queries of one head
    query_BGQX = query_BHX.view(B, keys_BGLX.shape[1], -1, query_BHX.shape[2])
    score_BGQL = query_BGQX * attention.head_dim**-0.5 @ keys_BGLX.mT
    weight_BHL = attention.weights(score_BGQL.view(B, H, 1, 1, -1), sight).view(B, H, -1)
    mixed_BGQX = weight_BHL.view(B, values_BGLX.shape[1], -1, weight_BHL.shape[2]) @ values_BGLX
    return mixed_BGQX.reshape(B, H, -1)


def _in_rows(group: Group, x_SGX: Tensor) -> Tensor:
    B, L = group.place_BL.shape
    return group.rows(x_SGX.flatten(1)).view(B, L, *x_SGX.shape[1:]).transpose(1, 2)


def _sight(
    config: ModelConfig, group: Group, lengths_B: Tensor, known_S: Tensor, asked_S: Tensor
) -> Sight:
    at_B = lengths_B - 1
    last_B = group.place_BL[torch.arange(len(at_B)), at_B]
    instants = Instants(known_S[last_B], asked_S[last_B])
    return sight_of_newest(config, at_B, known_S[group.place_BL], instants)
