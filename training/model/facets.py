"""Vectors of request facets that are more than one code: sets, and numbers by waves.

Shape suffixes: P positions, V members of a set, N numbers, K frequencies, D width of one facet.
"""

import math

import torch
from torch import Tensor, nn

_FREQUENCY_SPREAD = 0.1
"""Of the frequencies to begin with, per standard deviation of the number: slow waves at first."""


class SetEmbedding(nn.Module):
    """The mean of the weight rows of a set's members; of an empty or unknown set zeros."""

    def __init__(self, num_codes: int, width: int) -> None:
        """Take the number of codes, code 0 being no member."""
        super().__init__()
        self.rows = nn.Embedding(num_codes, width)
        nn.init.normal_(self.rows.weight, std=0.3)

    def forward(self, codes_PV: Tensor) -> Tensor:
        """Return ``[P, D]``."""
        is_member_PV1 = (codes_PV > 0)[..., None]
        sum_PD = (self.rows(codes_PV) * is_member_PV1).sum(dim=1)
        mean_PD: Tensor = sum_PD / is_member_PV1.sum(dim=1).clamp(min=1)
        return mean_PD


class PeriodicNumbers(nn.Module):
    """Each number as sines and cosines of learned frequencies, through a layer of its own.

    Source: Gorishniy, Rubachev, Babenko, "On Embeddings for Numerical Features in Tabular Deep
    Learning", NeurIPS 2022, arXiv:2203.05556, sec. 3.3, PLR.
    """

    def __init__(self, num_numbers: int, width: int) -> None:
        super().__init__()
        self.frequency_NK = nn.Parameter(torch.randn(num_numbers, width) * _FREQUENCY_SPREAD)
        bound = (2 * width) ** -0.5
        layer = torch.empty(num_numbers, 2 * width, width).uniform_(-bound, bound)
        self.layer_NKD = nn.Parameter(layer)
        self.bias_ND = nn.Parameter(torch.zeros(num_numbers, width))

    def forward(self, numbers_PX: Tensor) -> Tensor:
        """Return ``[P, N * D]`` of pairs (is it known, value); zeros where it is not known."""
        is_known_PN, value_PN = numbers_PX.reshape(len(numbers_PX), -1, 2).unbind(-1)
        angle_PNK = 2.0 * math.pi * self.frequency_NK * value_PN[..., None]
        wave_PNK = torch.cat([angle_PNK.sin(), angle_PNK.cos()], dim=-1)
        facet_PND = torch.relu(
            torch.einsum("pnk,nkd->pnd", wave_PNK, self.layer_NKD) + self.bias_ND
        )
        known_PX: Tensor = (facet_PND * is_known_PN[..., None]).flatten(1)
        return known_PX
