"""The input of every position: what happened before it, and the request it answers.

Legend: B rows, L positions, D model width, A outcome columns, C request categories, N numbers.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config import ModelConfig
from training.features.spec import FeatureSpec
from training.features.tokens import NUM_GAP_CODES, NUM_OUTCOME_NUMBERS, TIME_CODES
from training.model.batch import Batch
from training.model.categories import CategoryEmbedding


class InputEmbedding(nn.Module):
    """One vector per position."""

    def __init__(self, config: ModelConfig, spec: FeatureSpec) -> None:
        super().__init__()
        width = config.model_dim
        sizes = [*(len(v) + 1 for v in spec.request_categories.values()), *TIME_CODES]
        num_numbers = 2 * len(spec.request_numbers)
        self.start = nn.Parameter(torch.zeros(width))
        self.outcome_in = nn.Linear(len(spec.actions) + NUM_OUTCOME_NUMBERS, width)
        self.item_in = nn.Linear(width, width, bias=False)
        self.outcome_gate = nn.Linear(width, width)
        self.request = CategoryEmbedding(sizes, config.facet_dim)
        self.request_in = nn.Linear(len(sizes) * config.facet_dim + num_numbers, width)
        self.gap = nn.Embedding(NUM_GAP_CODES, width)
        nn.init.normal_(self.gap.weight, std=0.3)

    def forward(self, encoding_MD: Tensor, batch: Batch) -> Tensor:
        """Return ``[B, L, D]`` from the encodings of all items."""
        outcome_BLD = self.outcome_in(batch.outcome_BLA)
        item_BLD = self.item_in(F.embedding(batch.item_BL, encoding_MD))
        # how a title was received changes what it says: a dislike can turn its direction
        before_BLD = item_BLD * 2.0 * torch.tanh(self.outcome_gate(outcome_BLD)) + outcome_BLD
        before_BLD = torch.where(batch.has_previous_BL[..., None], before_BLD, self.start)
        request_BLD = self.request_in(
            torch.cat([self.request(batch.request_BLC), batch.request_BLN], dim=-1)
        )
        gap_BLD = self.gap(batch.gap_BL)
        out_BLD: Tensor = before_BLD + request_BLD + gap_BLD
        return out_BLD
