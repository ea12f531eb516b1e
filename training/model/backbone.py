"""Causal blocks over packed windows.

Shape suffixes: P positions, D model width, X several of them side by side.
"""

import torch
from torch import Tensor, nn

from training.config import ModelConfig
from training.model.attention import Attention, rotary
from training.model.hstu import HstuBlock
from training.model.jagged import Layout
from training.model.norm import norm_of
from training.model.sight import Instants, sights_of
from training.model.transformer import TransformerBlock


class Backbone(nn.Module):
    """Blocks in a row, then a norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.head_dim = config.head_dim
        self.is_rotary = config.positions == "rotary"
        block = HstuBlock if config.block == "hstu" else TransformerBlock
        self.blocks = nn.ModuleList(block(config) for _ in range(config.num_layers))
        self.norm = norm_of(config)

    def forward(
        self,
        x_PD: Tensor,
        layout: Layout,
        instants: Instants,
        draw: torch.Generator | None = None,
    ) -> Tensor:
        """Return hidden states ``[P, D]`` that depend on no later position of the window.

        ``draw`` is what dropout draws from; without one, nothing is dropped.
        """
        angles = rotary(layout.position_P, self.head_dim) if self.is_rotary else None
        sights = sights_of(self.config, layout.groups, instants)

        def mix(attention: Attention, qkv_PX: Tensor) -> Tensor:
            return layout.in_groups(qkv_PX, attention, sights)

        for block in self.blocks:
            x_PD = block(x_PD, mix, angles, draw)
        out_PD: Tensor = self.norm(x_PD)
        return out_PD
