"""Rows for new items: old rows keep every bit, new ones start at the mean with a little noise.

Source: Hsiao et al., "Foundation Model for Personalized Recommendation", Netflix TechBlog 2025.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.model.recommender import Recommender

NOISE_SHARE = 0.01
"""Noise of a new row, as a share of the spread of the old ones."""


def grow(network: Recommender, *, vocabulary_size: int, seed: int) -> None:
    """Give ``network`` weight rows and biases for a longer vocabulary, in place."""
    items = network.items
    draw = torch.Generator().manual_seed(seed)
    extra = vocabulary_size - items.id_rows.shape[0]
    items.id_rows = _grown(items.id_rows, extra, draw)
    items.id_bias = _grown(items.id_bias, extra, draw)
    if items.log_count is not None:
        items.log_count = F.pad(items.log_count, (0, extra))  # zero: never seen


def _grown(rows: Tensor, extra: int, draw: torch.Generator) -> nn.Parameter:
    old = rows.detach()
    noise = torch.randn(extra, *old.shape[1:], generator=draw)
    added = old.mean(dim=0) + NOISE_SHARE * old.std() * noise
    return nn.Parameter(torch.cat([old, added]))
