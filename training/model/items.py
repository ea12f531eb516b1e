"""The item encoder, shared by the input and the output side.

    id weight row ----------------------.
                                         gate --> encoding --> (input, scores)
    genres, kind, language, country,    /
    maturity, age, runtime, text --> mix

An item without a weight row of its own (id >= V) reads the unknown row; hiding ids at random
while training teaches the gate to lean on metadata then.
The gate may also be told the item's age and how often it was a target of pretraining: what a title
is says more of a new one, its own row of one seen often. A hidden or unknown item was never seen.
Source: Hsiao et al., "Foundation Model for Personalized Recommendation", Netflix TechBlog 2025.
Legend: M items, V vocabulary, K categorical columns, G genres, N numbers, D model width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config.model import ModelConfig
from training.features.items import NUM_ITEM_NUMBERS, ItemFeatures
from training.features.spec import FeatureSpec
from training.features.text import TEXT_DIM, text_vectors
from training.model.categories import CategoryEmbedding

_AGE = slice(2, NUM_ITEM_NUMBERS)
"""The numbers of ``ItemFeatures`` that tell of the release."""
_COMMON = 8.0
"""Logarithm of a count of 3,000: that of a common item is about one, as the other numbers are."""


def first_rows(
    count: int, width: int, *, norm: float, draw: torch.Generator | None = None
) -> Tensor:
    """Return weight rows as they are before training, ``[count, width]``, about ``norm`` long."""
    rows_VD: Tensor = torch.randn(count, width, generator=draw) * (norm * width**-0.5)
    return rows_VD


class _Genres(nn.Linear):
    """A layer that may have no input: torch warns of one that has nothing to begin with."""

    def reset_parameters(self) -> None:
        if self.in_features:
            super().reset_parameters()


class ItemEncoder(nn.Module):
    """Encodings and biases of items."""

    def __init__(self, config: ModelConfig, spec: FeatureSpec, *, vocabulary_size: int) -> None:
        """Make the weights for a vocabulary; ``spec`` fixes the metadata's categories."""
        super().__init__()
        width = config.model_dim
        self.has_metadata = config.item_metadata
        if self.has_metadata:
            sizes = [len(values) + 1 for values in spec.item_categories.values()]
            self.categories = CategoryEmbedding(sizes, config.facet_dim)
            self.genres = _Genres(len(spec.genres), config.facet_dim, bias=False)
            mixed = (len(sizes) + 1) * config.facet_dim + NUM_ITEM_NUMBERS
            self.text: nn.Linear | None = None
            if config.item_text != "none":
                self.text = nn.Linear(TEXT_DIM, config.facet_dim, bias=False)
                mixed += config.facet_dim
            self.mix_in = nn.Linear(mixed, width)
            self.mix_out = nn.Linear(width, width)
            self.gate = nn.Linear(2 * width, width)
            self.metadata_bias = nn.Linear(width, 1, bias=False)
        is_counted = config.item_gate == "age_and_count"
        self.register_buffer("log_count", torch.zeros(vocabulary_size) if is_counted else None)
        self.log_count: Tensor | None
        if is_counted:
            self.gate_numbers = nn.Linear(1 + NUM_ITEM_NUMBERS - _AGE.start, width, bias=False)
            nn.init.zeros_(self.gate_numbers.weight)  # to begin with, it is told nothing
        self.id_rows = nn.Parameter(first_rows(vocabulary_size, width, norm=config.row_norm))
        self.unknown_row = nn.Parameter(torch.zeros(width))
        self.id_bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.unknown_bias = nn.Parameter(torch.zeros(()))

    @torch.no_grad()
    def start_at(self, bias_V: Tensor) -> None:
        """Set the biases of the vocabulary's items: how often each is a target, logarithmic."""
        self.id_bias.copy_(bias_V)
        if self.log_count is not None:
            self.log_count.copy_(bias_V - bias_V.min())

    def forward(self, items: ItemFeatures, hidden_M: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return encodings ``[M, D]`` and biases ``[M]``; ids in ``hidden_M`` read as unknown."""
        extra = len(items.ids) - self.id_rows.shape[0]
        id_MD = torch.cat([self.id_rows, self.unknown_row.expand(extra, -1)])
        bias_M = torch.cat([self.id_bias, self.unknown_bias.expand(extra)])
        if hidden_M is not None:
            id_MD = torch.where(hidden_M[:, None], self.unknown_row, id_MD)
            bias_M = torch.where(hidden_M, self.unknown_bias, bias_M)
        if not self.has_metadata:
            return id_MD, bias_M
        metadata_MD = self.content(items)
        gate_MD = self.gate(torch.cat([id_MD, metadata_MD], dim=-1))
        if self.log_count is not None:
            gate_MD = gate_MD + self._known_of(items, self.log_count, hidden_M)
        gate_MD = torch.sigmoid(gate_MD)
        encoding_MD = gate_MD * id_MD + (1.0 - gate_MD) * metadata_MD
        return encoding_MD, bias_M + self.metadata_bias(metadata_MD)[:, 0]

    def _known_of(
        self, items: ItemFeatures, log_count_V: Tensor, hidden_M: Tensor | None
    ) -> Tensor:
        count_M = F.pad(log_count_V, (0, len(items.ids) - len(log_count_V))) / _COMMON
        if hidden_M is not None:
            count_M = count_M.masked_fill(hidden_M, 0.0)
        numbers_MX = torch.cat([items.numbers_MN[:, _AGE], count_M[:, None]], dim=1)
        shift_MD: Tensor = self.gate_numbers(numbers_MX)
        return shift_MD

    def content(self, items: ItemFeatures) -> Tensor:
        """Return what the metadata alone says of each item, ``[M, D]``."""
        parts = [self.categories(items.codes_MK), self.genres(items.genres_MG), items.numbers_MN]
        if self.text is not None:
            parts.append(self.text(text_vectors(items.texts)))
        mixed_MD: Tensor = self.mix_out(F.silu(self.mix_in(torch.cat(parts, dim=-1))))
        return mixed_MD
