"""Pre-norm transformer block.

Shape suffixes: P positions, W last positions, D model width, F feed-forward width, X several of
them side by side. Sources: SwiGLU (arXiv:2002.05202), the plain block (SASRec, arXiv:1808.09781,
sec. 3).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config.model import ModelConfig
from training.model.attention import Angles, Attention, Mix, rotate_queries_and_keys
from training.model.dropout import drop
from training.model.ends import Ends
from training.model.norm import norm_of


class TransformerBlock(nn.Module):
    """Attention and a feed-forward part, each on a residual branch."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.model_dim
        self.dropout = config.dropout
        self.attention = Attention(config)
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
        self, x_PD: Tensor, mix: Mix, angles: Angles | None, draw: torch.Generator | None
    ) -> Tensor:
        """Return ``x`` plus what each position gathered from those before, then transformed."""
        qkv_PX = self.project_in(self.attention_norm(x_PD))
        qkv_PX = rotate_queries_and_keys(qkv_PX, angles, self.attention.num_heads)
        return self._add(x_PD, mix(self.attention, qkv_PX), draw)

    def at_the_ends(self, x_PD: Tensor, ends: Ends) -> Tensor:
        """Return ``[W, D]``: what ``forward`` gives at last positions, without dropout."""
        read_PD = self.attention_norm(x_PD)
        weights_XD, width = self.project_in.weight, x_PD.shape[1]
        query_WD = F.linear(read_PD[ends.last_W], weights_XD[:width])
        mixed_WD = ends.gathered(self.attention, query_WD, read_PD, weights_XD[width:])
        return self._add(x_PD[ends.last_W], mixed_WD, None)

    def _add(self, x_PD: Tensor, mixed_PD: Tensor, draw: torch.Generator | None) -> Tensor:
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
