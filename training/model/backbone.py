"""Causal blocks over packed windows.

Shape suffixes: P positions, D model width, Y layers. Source of the learned mix of layers: ELMo
(arXiv:1802.05365, sec. 3.2).
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from training.config.model import ModelConfig
from training.model.attention import Mix, rotary
from training.model.ends import Ends
from training.model.hstu import HstuBlock
from training.model.jagged import Layout
from training.model.norm import norm_of
from training.model.sasrec import SasrecBlock
from training.model.sight import Instants, Sight, sights_of
from training.model.transformer import TransformerBlock

Block = TransformerBlock | SasrecBlock | HstuBlock

_BLOCKS: dict[str, type[Block]] = {
    "transformer": TransformerBlock,
    "sasrec": SasrecBlock,
    "hstu": HstuBlock,
}


class Backbone(nn.Module):
    """Blocks in a row, a norm, and which of the blocks is heard."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.head_dim = config.head_dim
        self.is_rotary = config.positions == "rotary"
        block = _BLOCKS[config.block]
        self.blocks = nn.ModuleList(block(config) for _ in range(config.num_layers))
        self.norm = norm_of(config)
        self.layer_mix = nn.Parameter(torch.zeros(config.num_layers)) if config.layer_mix else None

    def forward(
        self,
        x_PD: Tensor,
        layout: Layout,
        instants: Instants,
        draw: torch.Generator | None = None,
        *,
        mix: Mix | None = None,
    ) -> Tensor:
        """Return hidden states ``[P, D]`` that depend on no later position of the window."""
        layers = self.layers(x_PD, layout, instants, draw, mix=mix)
        return self.served(layers)

    def served(self, layers: Sequence[Tensor]) -> Tensor:
        """Return the hidden states of all layers as one: the last, or a learned mix."""
        if self.layer_mix is None:
            last_PD: Tensor = self.norm(layers[-1])
            return last_PD
        normed_PDY = torch.stack([self.norm(layer_PD) for layer_PD in layers], dim=-1)
        return normed_PDY @ self.layer_mix.softmax(dim=0)

    def layers(
        self,
        x_PD: Tensor,
        layout: Layout,
        instants: Instants,
        draw: torch.Generator | None = None,
        *,
        mix: Mix | None = None,
    ) -> list[Tensor]:
        """Return what each block gives, ``[P, D]``, before any norm.

        ``draw`` is what dropout draws from; without one, nothing is dropped. ``mix`` applies the
        attention of a layer to something else than the windows themselves.
        """
        angles = rotary(layout.position_P, self.head_dim) if self.is_rotary else None
        if mix is None:
            mix = self._within(layout, instants)
        given = []
        for block in self.blocks:
            x_PD = block(x_PD, mix, angles, draw)
            given.append(x_PD)
        return given

    def at_the_ends(self, x_PD: Tensor, layout: Layout, instants: Instants) -> Tensor:
        """Return hidden states at the last position of each window, ``[W, D]``.

        The last block answers there alone.
        """
        angles = rotary(layout.position_P, self.head_dim) if self.is_rotary else None
        ends = Ends(self.config, layout, instants, angles)
        mix, given = self._within(layout, instants), []
        *blocks, last = self.blocks
        for block in blocks:
            x_PD = block(x_PD, mix, angles, None)
            given.append(x_PD[ends.last_W])
        return self.served([*given, cast("Block", last).at_the_ends(x_PD, ends)])

    def sights(self, layout: Layout, instants: Instants) -> list[Sight | None]:
        """Return what each group of the layout sees, None being all before without a bias."""
        return sights_of(self.config, layout.groups, instants)

    def _within(self, layout: Layout, instants: Instants) -> Mix:
        sights = self.sights(layout, instants)
        return lambda attention, qkv_PX: layout.in_groups(qkv_PX, attention, sights)
