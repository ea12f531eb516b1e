"""Causal attention over packed windows: a softmax, or each weight by itself.

    softmax      mixed = softmax(q . k / sqrt K) v
    pointwise    mixed = sum of silu(q . k / sqrt K) v over what is seen, divided by its number

Without the softmax a position that saw ten good matches gathers more than one that saw a single
one. Division is by the number of positions seen, which is known when the position is: neither the
padding nor what follows changes it.
Shape suffixes: P positions, S positions of a group, B windows of a group, L positions of its
longest (M on the side that is looked at), H heads, K head width. Sources: rotary positions
(arXiv:2104.09864, sec. 3.4), pointwise attention (arXiv:2402.17152, sec. 3; its public code divides
by the longest length, and scales by sqrt K in its kernels).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config import ModelConfig
from training.model.jagged import Group

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

    def forward(self, qkv_SX: Tensor, group: Group) -> Tensor:
        """Return ``[S, H * K]`` of a group's queries, keys and values."""
        B, L = group.place_BL.shape
        q_BHLK, k_BHLK, v_BHLK = (
            group.rows(qkv_SX)
            .view(B, L, 3, self.num_heads, self.head_dim)
            .permute(2, 0, 3, 1, 4)
            .unbind(0)
        )
        if self.is_pointwise:
            mixed_BHLK = self._pointwise(q_BHLK, k_BHLK, v_BHLK)
        else:
            mixed_BHLK = F.scaled_dot_product_attention(q_BHLK, k_BHLK, v_BHLK, is_causal=True)
        return group.flat(mixed_BHLK.transpose(1, 2).reshape(B, L, -1))

    def _pointwise(self, q_BHLK: Tensor, k_BHMK: Tensor, v_BHMK: Tensor) -> Tensor:
        score_BHLM = (q_BHLK * self.head_dim**-0.5) @ k_BHMK.mT
        L = q_BHLK.shape[2]
        num_seen_L1 = torch.arange(1, L + 1, device=q_BHLK.device)[:, None]
        return (F.silu(score_BHLM).tril() @ v_BHMK) / num_seen_L1


Mix = Callable[[Attention, Tensor], Tensor]
"""How a block's attention is applied to its flat queries, keys and values."""
