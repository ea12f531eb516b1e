"""Hierarchical sequential transduction unit: pointwise attention, then a gate of its own input.

    q, k, v, u = silu(W norm(x))
    x + W' (norm(attention(q, k, v)) * u)

There is no feed-forward part: the gate does its work, with half the weights of a transformer block.
Shape suffixes: P positions, W last positions, H heads, K head width, D model width, X
several of them side by side. Source: Zhai et al., ICML 2024, arXiv:2402.17152, sec. 3; public code
in meta-recsys/generative-recommenders.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config.model import ModelConfig
from training.model.attention import Angles, Attention, Mix, rotate_queries_and_keys
from training.model.dropout import drop
from training.model.ends import Ends
from training.model.norm import norm_of

_EPSILON = 1e-6
"""As in the public code: what is gathered is small, and torch's 1e-5 would outweigh it."""


class HstuBlock(nn.Module):
    """Pointwise attention with a gated output, on a residual branch."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.model_dim
        self.dropout = config.dropout
        self.attention = Attention(config)
        self.norm = norm_of(config)
        self.mixed_norm = nn.LayerNorm(width, eps=_EPSILON, elementwise_affine=False)
        self.project_in = nn.Linear(width, 4 * width, bias=False)
        self.project_out = nn.Linear(width, width, bias=False)

    def forward(
        self, x_PD: Tensor, mix: Mix, angles: Angles | None, draw: torch.Generator | None
    ) -> Tensor:
        """Return ``x`` plus what each position gathered from those before, gated."""
        width = x_PD.shape[1]
        projected_PX = F.silu(self.project_in(self.norm(x_PD)))
        qkv_PX, gate_PD = torch.split(projected_PX, [3 * width, width], dim=1)
        qkv_PX = rotate_queries_and_keys(qkv_PX, angles, self.attention.num_heads)
        return self._add(x_PD, mix(self.attention, qkv_PX), gate_PD, draw)

    def at_the_ends(self, x_PD: Tensor, ends: Ends) -> Tensor:
        """Return ``[W, D]``: what ``forward`` gives at last positions, without dropout."""
        normed_PD, num_heads = self.norm(x_PD), self.attention.num_heads
        normed_WD = normed_PD[ends.last_W]
        of_query_DD, of_key_DD, of_value_DD, of_gate_DD = self.project_in.weight.chunk(4)
        query_WD, gate_WD = (F.silu(F.linear(normed_WD, of)) for of in (of_query_DD, of_gate_DD))
        key_PD, value_PD = (F.silu(F.linear(normed_PD, of)) for of in (of_key_DD, of_value_DD))
        mixed_WHK = ends.mixed(
            self.attention,
            ends.turned_queries(query_WD.view(len(query_WD), num_heads, -1)),
            ends.turned(key_PD.view(len(key_PD), num_heads, -1)),
            value_PD.view(len(value_PD), num_heads, -1),
        )
        return self._add(x_PD[ends.last_W], mixed_WHK.flatten(1), gate_WD, None)

    def _add(
        self, x_PD: Tensor, mixed_PD: Tensor, gate_PD: Tensor, draw: torch.Generator | None
    ) -> Tensor:
        gated_PD = self.mixed_norm(mixed_PD) * gate_PD
        out_PD: Tensor = x_PD + self.project_out(drop(gated_PD, self.dropout, draw))
        return out_PD
