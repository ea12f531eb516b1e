"""Pre-norm causal transformer over packed rows.

Shape suffixes: B rows, L positions (M on the attended side), D model width, H heads, K head width,
F feed-forward width. Sources: RMSNorm (arXiv:1910.07467), SwiGLU (arXiv:2002.05202), rotary
positions (arXiv:2104.09864, sec. 3.4).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config import ModelConfig


def visible(segment_BL: Tensor) -> Tensor:
    """Return bool ``[B, 1, L, M]``: M is not after L and belongs to the same window.

    Padding (segment -1) sees itself and its like only, so no row of the softmax is empty.
    """
    is_same_BLM = segment_BL[:, :, None] == segment_BL[:, None, :]
    return is_same_BLM.tril()[:, None]


def rotary(position_BL: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Return cosine and sine ``[B, 1, L, K/2]`` of every position's angles."""
    half = head_dim // 2
    frequency_K = 10_000.0 ** (-torch.arange(half, dtype=torch.float32) / half)
    angle_BLK = position_BL[..., None].float() * frequency_K
    return angle_BLK.cos()[:, None], angle_BLK.sin()[:, None]


def rotate(x_BHLK: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Return ``x`` with its halves rotated against each other by the position's angles."""
    cosine, sine = angles
    first, second = x_BHLK.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


class Block(nn.Module):
    """Attention and a gated feed-forward part, each on a residual branch."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.model_dim
        self.num_heads = config.num_heads
        self.dropout = config.dropout
        self.attention_norm = nn.RMSNorm(width)
        self.project_in = nn.Linear(width, 3 * width, bias=False)
        self.project_out = nn.Linear(width, width, bias=False)
        self.hidden_norm = nn.RMSNorm(width)
        self.hidden_in = nn.Linear(width, 2 * config.hidden_dim, bias=False)
        self.hidden_out = nn.Linear(config.hidden_dim, width, bias=False)

    def forward(self, x_BLD: Tensor, visible_B1LM: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        """Return ``x`` plus what each position gathered from visible ones, then transformed."""
        x_BLD = x_BLD + self._drop(self._attend(self.attention_norm(x_BLD), visible_B1LM, angles))
        gate_BLF, value_BLF = self.hidden_in(self.hidden_norm(x_BLD)).chunk(2, dim=-1)
        return x_BLD + self._drop(self.hidden_out(F.silu(gate_BLF) * value_BLF))

    def _attend(self, x_BLD: Tensor, visible_B1LM: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        B, L, D = x_BLD.shape
        q_BHLK, k_BHMK, v_BHMK = (
            part.view(B, L, self.num_heads, -1).transpose(1, 2)
            for part in self.project_in(x_BLD).chunk(3, dim=-1)
        )
        mixed_BHLK = F.scaled_dot_product_attention(
            rotate(q_BHLK, angles), rotate(k_BHMK, angles), v_BHMK, attn_mask=visible_B1LM
        )
        out_BLD: Tensor = self.project_out(mixed_BHLK.transpose(1, 2).reshape(B, L, D))
        return out_BLD

    def _drop(self, x_BLD: Tensor) -> Tensor:
        return F.dropout(x_BLD, self.dropout, self.training)


class Backbone(nn.Module):
    """Blocks in a row, then a norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = nn.RMSNorm(config.model_dim)

    def forward(self, x_BLD: Tensor, segment_BL: Tensor, position_BL: Tensor) -> Tensor:
        """Return hidden states ``[B, L, D]`` that depend on no later position of the window."""
        visible_B1LM = visible(segment_BL)
        angles = rotary(position_BL, self.head_dim)
        for block in self.blocks:
            x_BLD = block(x_BLD, visible_B1LM, angles)
        out_BLD: Tensor = self.norm(x_BLD)
        return out_BLD
