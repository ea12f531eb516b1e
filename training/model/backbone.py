"""Causal blocks over packed windows.

Shape suffixes: P positions, D model width, X several of them side by side.
"""

import torch
from torch import Tensor, nn

from training.config import ModelConfig
from training.model.attention import Mix, rotary
from training.model.hstu import HstuBlock
from training.model.jagged import Layout
from training.model.norm import norm_of
from training.model.sight import Instants, Sight, sights_of
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
        *,
        mix: Mix | None = None,
    ) -> Tensor:
        """Return hidden states ``[P, D]`` that depend on no later position of the window.

        ``draw`` is what dropout draws from; without one, nothing is dropped. ``mix`` applies the
        attention of a layer to something else than the windows themselves.
        """
        angles = rotary(layout.position_P, self.head_dim) if self.is_rotary else None
        if mix is None:
            mix = self._within(layout, instants)
        for block in self.blocks:
            x_PD = block(x_PD, mix, angles, draw)
        out_PD: Tensor = self.norm(x_PD)
        return out_PD

    def sights(self, layout: Layout, instants: Instants) -> list[Sight | None]:
        """Return what each group of the layout sees, None being all before without a bias."""
        return sights_of(self.config, layout.groups, instants)

    def _within(self, layout: Layout, instants: Instants) -> Mix:
        sights = self.sights(layout, instants)
        return lambda attention, qkv_PX: layout.in_groups(qkv_PX, attention, sights)
