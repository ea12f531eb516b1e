"""Pre-norm causal transformer over packed windows.

Shape suffixes: P positions, S positions of a group, B windows of a group, L positions of its
longest, D model width, H heads, K head width, F feed-forward width. Sources: RMSNorm
(arXiv:1910.07467), SwiGLU (arXiv:2002.05202), rotary positions (arXiv:2104.09864, sec. 3.4), the
plain block with learned positions (SASRec, arXiv:1808.09781, sec. 3).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config import ModelConfig
from training.model.dropout import drop
from training.model.jagged import Group, Layout

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


def norm_of(config: ModelConfig) -> nn.Module:
    """Return a norm over the model's width."""
    return (nn.RMSNorm if config.norm == "rms" else nn.LayerNorm)(config.model_dim)


class Block(nn.Module):
    """Attention and a feed-forward part, each on a residual branch."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.model_dim
        self.num_heads, self.head_dim = config.num_heads, config.head_dim
        self.dropout = config.dropout
        self.attention_norm = norm_of(config)
        self.project_in = nn.Linear(width, 3 * width, bias=False)
        self.project_out = nn.Linear(width, width, bias=False)
        self.hidden_norm = norm_of(config)
        self.is_gated = config.feed_forward == "gated"
        hidden = config.hidden_dim
        self.hidden_in = nn.Linear(
            width, 2 * hidden if self.is_gated else hidden, bias=not self.is_gated
        )
        self.hidden_out = nn.Linear(hidden, width, bias=not self.is_gated)

    def forward(
        self, x_PD: Tensor, layout: Layout, angles: Angles | None, draw: torch.Generator | None
    ) -> Tensor:
        """Return ``x`` plus what each position gathered from those before, then transformed."""
        mixed_PD = self._attend(self.attention_norm(x_PD), layout, angles)
        x_PD = x_PD + drop(self.project_out(mixed_PD), self.dropout, draw)
        return x_PD + drop(self._transform(self.hidden_norm(x_PD), draw), self.dropout, draw)

    def _transform(self, x_PD: Tensor, draw: torch.Generator | None) -> Tensor:
        if self.is_gated:
            gate_PF, value_PF = self.hidden_in(x_PD).chunk(2, dim=-1)
            hidden_PF = F.silu(gate_PF) * value_PF
        else:
            hidden_PF = drop(F.relu(self.hidden_in(x_PD)), self.dropout, draw)
        out_PD: Tensor = self.hidden_out(hidden_PF)
        return out_PD

    def _attend(self, x_PD: Tensor, layout: Layout, angles: Angles | None) -> Tensor:
        qkv_PX = self.project_in(x_PD)
        if angles is not None:
            q_k_PHK, v_PHK = qkv_PX.view(len(x_PD), 3 * self.num_heads, self.head_dim).split(
                [2 * self.num_heads, self.num_heads], dim=1
            )
            qkv_PX = torch.cat([rotate(q_k_PHK, angles), v_PHK], dim=1).flatten(1)
        return layout.in_groups(qkv_PX, self._mix)

    def _mix(self, qkv_SX: Tensor, group: Group) -> Tensor:
        B, L = group.place_BL.shape
        q_BHLK, k_BHLK, v_BHLK = (
            group.rows(qkv_SX)
            .view(B, L, 3, self.num_heads, self.head_dim)
            .permute(2, 0, 3, 1, 4)
            .unbind(0)
        )
        mixed_BHLK = F.scaled_dot_product_attention(q_BHLK, k_BHLK, v_BHLK, is_causal=True)
        return group.flat(mixed_BHLK.transpose(1, 2).reshape(B, L, -1))


class Backbone(nn.Module):
    """Blocks in a row, then a norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.is_rotary = config.positions == "rotary"
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = norm_of(config)

    def forward(self, x_PD: Tensor, layout: Layout, draw: torch.Generator | None = None) -> Tensor:
        """Return hidden states ``[P, D]`` that depend on no later position of the window.

        ``draw`` is what dropout draws from; without one, nothing is dropped.
        """
        angles = rotary(layout.position_P, self.head_dim) if self.is_rotary else None
        for block in self.blocks:
            x_PD = block(x_PD, layout, angles, draw)
        out_PD: Tensor = self.norm(x_PD)
        return out_PD
