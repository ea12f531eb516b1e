"""The input of every position: what happened before it, and the request it answers.

Legend: P positions, D model width, A outcome columns, C request codes, N request numbers.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config.model import ModelConfig
from training.features.spec import MAX_SET_VALUES, FeatureSpec
from training.features.tokens import NUM_GAP_CODES, NUM_OUTCOME_NUMBERS
from training.model.batch import Batch
from training.model.categories import CategoryEmbedding
from training.model.dropout import drop
from training.model.facets import PeriodicNumbers, SetEmbedding


class InputEmbedding(nn.Module):
    """One vector per position."""

    def __init__(self, config: ModelConfig, spec: FeatureSpec) -> None:
        super().__init__()
        self.config = config
        width = config.model_dim
        self.start = nn.Parameter(torch.zeros(width))
        if config.positions == "learned":
            self.position = nn.Embedding(config.max_seq_len, width)
            # coordinates as items' rows have them, which are scaled up where they are read
            nn.init.normal_(self.position.weight, std=config.row_norm / math.sqrt(width))
        if config.input_facets:
            sizes = spec.code_sizes
            self.num_waves = len(spec.request_numbers) * (config.request_numbers == "periodic")
            num_vectors = len(sizes) + len(spec.request_sets) + self.num_waves
            num_numbers = spec.num_number_columns - 2 * self.num_waves
            self.outcome_in = nn.Linear(len(spec.actions) + NUM_OUTCOME_NUMBERS, width)
            self.item_in = nn.Linear(width, width, bias=False)
            self.outcome_gate = nn.Linear(width, width)
            if config.tied_output:
                # scores meet the rows themselves: to begin with, a token says its item as it is
                nn.init.eye_(self.item_in.weight)
                nn.init.zeros_(self.outcome_gate.weight)
                nn.init.constant_(self.outcome_gate.bias, math.atanh(0.5))
            self.request = CategoryEmbedding(sizes, config.facet_dim)
            self.request_in = nn.Linear(num_vectors * config.facet_dim + num_numbers, width)
            self.gap = nn.Embedding(NUM_GAP_CODES, width)
            nn.init.normal_(self.gap.weight, std=0.3)
            self.num_codes = len(sizes)
            self.sets = nn.ModuleList(
                SetEmbedding(len(values) + 1, config.facet_dim)
                for values in spec.request_sets.values()
            )
            if self.num_waves:
                self.waves = PeriodicNumbers(self.num_waves, config.facet_dim)

    def forward(
        self, encoding_MD: Tensor, batch: Batch, draw: torch.Generator | None = None
    ) -> Tensor:
        """Return ``[P, D]`` from the encodings of all items."""
        item_PD = F.embedding(batch.item_P, encoding_MD)
        if self.config.tied_output or not self.config.input_facets:
            # the blocks want coordinates near one, a row is at most about one long as a whole
            item_PD = item_PD * math.sqrt(self.config.model_dim)
        before_PD = self._received(item_PD, batch) if self.config.input_facets else item_PD
        # in place: few positions have no past, and a choice at each of them would copy them all
        x_PD = before_PD.index_put_((batch.first_F,), self.start)
        if self.config.input_facets:
            x_PD = x_PD + self.request_in(self._requested(batch)) + self.gap(batch.gap_P)
        if self.config.positions == "learned":
            x_PD = x_PD + self.position(batch.layout.position_P)
        return drop(x_PD, self.config.input_dropout, draw)

    def _requested(self, batch: Batch) -> Tensor:
        """Return everything that is read of the request, side by side."""
        codes_PC, numbers_PN = batch.request_PC, batch.request_PN
        parts = [self.request(codes_PC[:, : self.num_codes])]
        for place, rows in enumerate(self.sets):
            start = self.num_codes + place * MAX_SET_VALUES
            parts.append(rows(codes_PC[:, start : start + MAX_SET_VALUES]))
        if self.num_waves:
            parts.append(self.waves(numbers_PN[:, : 2 * self.num_waves]))
        return torch.cat([*parts, numbers_PN[:, 2 * self.num_waves :]], dim=-1)

    def _received(self, item_PD: Tensor, batch: Batch) -> Tensor:
        """Return the token before: its item, and how it was received."""
        outcome_PD = self.outcome_in(batch.outcome_PA)
        # how a title was received changes what it says: a dislike can turn its direction
        gate_PD = 2.0 * torch.tanh(self.outcome_gate(outcome_PD))
        out_PD: Tensor = self.item_in(item_PD) * gate_PD + outcome_PD
        return out_PD
