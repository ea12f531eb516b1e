"""The input of every position: what happened before it, and the request it answers.

Legend: P positions, D model width, A outcome columns, C request categories, N numbers.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config import ModelConfig
from training.features.spec import FeatureSpec
from training.features.tokens import NUM_GAP_CODES, NUM_OUTCOME_NUMBERS, TIME_CODES
from training.model.batch import Batch
from training.model.categories import CategoryEmbedding
from training.model.dropout import drop


class InputEmbedding(nn.Module):
    """One vector per position."""

    def __init__(self, config: ModelConfig, spec: FeatureSpec) -> None:
        super().__init__()
        self.config = config
        width = config.model_dim
        self.start = nn.Parameter(torch.zeros(width))
        if config.positions == "learned":
            self.position = nn.Embedding(config.max_seq_len, width)
            nn.init.normal_(self.position.weight, std=0.02)
        if config.input_facets:
            sizes = [*(len(v) + 1 for v in spec.request_categories.values()), *TIME_CODES]
            num_numbers = 2 * len(spec.request_numbers)
            self.outcome_in = nn.Linear(len(spec.actions) + NUM_OUTCOME_NUMBERS, width)
            self.item_in = nn.Linear(width, width, bias=False)
            self.outcome_gate = nn.Linear(width, width)
            self.request = CategoryEmbedding(sizes, config.facet_dim)
            self.request_in = nn.Linear(len(sizes) * config.facet_dim + num_numbers, width)
            self.gap = nn.Embedding(NUM_GAP_CODES, width)
            nn.init.normal_(self.gap.weight, std=0.3)

    def forward(
        self, encoding_MD: Tensor, batch: Batch, draw: torch.Generator | None = None
    ) -> Tensor:
        """Return ``[P, D]`` from the encodings of all items."""
        item_PD = F.embedding(batch.item_P, encoding_MD)
        if self.config.input_facets:
            before_PD = self._received(item_PD, batch)
        else:  # rows of unit length: the blocks want coordinates near one
            before_PD = item_PD * math.sqrt(self.config.model_dim)
        x_PD = torch.where(batch.has_previous_P[:, None], before_PD, self.start)
        if self.config.input_facets:
            request_PX = torch.cat([self.request(batch.request_PC), batch.request_PN], dim=-1)
            x_PD = x_PD + self.request_in(request_PX) + self.gap(batch.gap_P)
        if self.config.positions == "learned":
            x_PD = x_PD + self.position(batch.layout.position_P)
        return drop(x_PD, self.config.input_dropout, draw)

    def _received(self, item_PD: Tensor, batch: Batch) -> Tensor:
        """Return the token before: its item, and how it was received."""
        outcome_PD = self.outcome_in(batch.outcome_PA)
        # how a title was received changes what it says: a dislike can turn its direction
        gate_PD = 2.0 * torch.tanh(self.outcome_gate(outcome_PD))
        out_PD: Tensor = self.item_in(item_PD) * gate_PD + outcome_PD
        return out_PD
