"""SASRec's block as its public implementations have it.

    q = W norm(x), k, v = W x
    y = norm(norm(x) + W' attention(q, k, v))
    y + W'' relu(W''' y)

What a branch is added to is normed, too, so an item counts as much after it as what was gathered
from the items before it, however long their rows have grown; and branches begin near nothing.
Shape suffixes: P positions, W last positions, D model width, X several of them side by
side. Sources: Kang & McAuley 2018, arXiv:1808.09781, sec. 3; how much the branches begin with,
Klenitskiy & Vasilev 2023, arXiv:2309.07602 (public code).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config.model import ModelConfig
from training.model.attention import Angles, Attention, Mix, rotate_queries_and_keys
from training.model.dropout import drop
from training.model.ends import Ends
from training.model.norm import norm_of

_FIRST_STD = 0.02
"""Of the matrices that end or fill a branch."""


class SasrecBlock(nn.Module):
    """Attention and a feed-forward part, each added to its normed input."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, hidden = config.model_dim, config.hidden_dim
        self.dropout = config.dropout
        self.attention = Attention(config)
        self.attention_norm = norm_of(config)
        self.query_in = nn.Linear(width, width, bias=False)
        self.keys_and_values_in = nn.Linear(width, 2 * width, bias=False)
        self.project_out = nn.Linear(width, width, bias=False)
        self.hidden_norm = norm_of(config)
        self.hidden_in, self.hidden_out = nn.Linear(width, hidden), nn.Linear(hidden, width)
        nn.init.xavier_uniform_(self.query_in.weight)
        nn.init.xavier_uniform_(self.keys_and_values_in.weight)
        for layer in (self.project_out, self.hidden_in, self.hidden_out):
            nn.init.normal_(layer.weight, std=_FIRST_STD)
        for layer in (self.hidden_in, self.hidden_out):
            nn.init.zeros_(layer.bias)

    def forward(
        self, x_PD: Tensor, mix: Mix, angles: Angles | None, draw: torch.Generator | None
    ) -> Tensor:
        """Return each position's normed input with what it gathered, transformed: ``[P, D]``."""
        normed_PD = self.attention_norm(x_PD)
        qkv_PX = torch.cat([self.query_in(normed_PD), self.keys_and_values_in(x_PD)], dim=1)
        qkv_PX = rotate_queries_and_keys(qkv_PX, angles, self.attention.num_heads)
        return self._add(normed_PD, mix(self.attention, qkv_PX), draw)

    def at_the_ends(self, x_PD: Tensor, ends: Ends) -> Tensor:
        """Return ``[W, D]``: what ``forward`` gives at last positions, without dropout."""
        normed_WD = self.attention_norm(x_PD[ends.last_W])
        query_WD = self.query_in(normed_WD)
        of_keys_and_values = self.keys_and_values_in.weight
        mixed_WD = ends.gathered(self.attention, query_WD, x_PD, of_keys_and_values)
        return self._add(normed_WD, mixed_WD, None)

    def _add(self, normed_PD: Tensor, mixed_PD: Tensor, draw: torch.Generator | None) -> Tensor:
        gathered_PD = drop(self.project_out(mixed_PD), self.dropout, draw)
        y_PD = self.hidden_norm(normed_PD + gathered_PD)
        hidden_PX = drop(F.relu(self.hidden_in(y_PD)), self.dropout, draw)
        out_PD: Tensor = y_PD + drop(self.hidden_out(hidden_PX), self.dropout, draw)
        return out_PD
