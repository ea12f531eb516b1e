"""Rows for new items: old rows keep every bit, new ones start where the config says.

    mean        at the mean of the old rows
    random      as in pretraining
    metadata    at the mean of the old rows whose items are described most alike
    unknown     at the row that items without one are read by: to begin with, nothing changes

What is not random gets a little noise, so that equal starts part. Biases start at the mean of the
old ones, or at that of items without a row.
Source: Hsiao et al., "Foundation Model for Personalized Recommendation", Netflix TechBlog 2025.
Legend: E new items, V old ones, M all of both and of the catalogue, D model width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config.run import NewItems
from training.features.items import ItemFeatures
from training.model.items import first_rows
from training.model.recommender import Recommender

NOISE_SHARE = 0.01
"""Noise of a new row, as a share of the spread of the old ones."""

NUM_ALIKE = 10
"""Old items that a described one starts between; all of them, where there are fewer."""

_AT_ONCE = 256
"""New items compared with all old ones at one time: bounds memory, changes nothing else."""


@torch.no_grad()
def grow(
    network: Recommender, items: ItemFeatures, *, seed: int, new_items: NewItems = "mean"
) -> None:
    """Give ``network`` weight rows and biases for the vocabulary of ``items``, in place."""
    encoder = network.items
    draw = torch.Generator().manual_seed(seed)
    rows_VD, bias_V = encoder.id_rows.detach(), encoder.id_bias.detach()
    extra = items.num_vocabulary - len(rows_VD)
    bias = encoder.unknown_bias.detach() if new_items == "unknown" else bias_V.mean(dim=0)
    if new_items == "random":
        norm = network.config.row_norm
        added_ED = first_rows(extra, rows_VD.shape[1], norm=norm, draw=draw)
    else:
        row_D = encoder.unknown_row.detach() if new_items == "unknown" else rows_VD.mean(dim=0)
        start_ED = row_D.expand(extra, -1)
        if new_items == "metadata":
            start_ED = _between_alike(rows_VD, start_ED, encoder.content(items), items)
        added_ED = start_ED + _noise(rows_VD, extra, draw)
    encoder.id_rows = nn.Parameter(torch.cat([rows_VD, added_ED]))
    encoder.id_bias = nn.Parameter(torch.cat([bias_V, bias + _noise(bias_V, extra, draw)]))
    if encoder.log_count is not None:
        encoder.log_count = F.pad(encoder.log_count, (0, extra))  # zero: never seen


def _noise(rows: Tensor, extra: int, draw: torch.Generator) -> Tensor:
    return NOISE_SHARE * rows.std() * torch.randn(extra, *rows.shape[1:], generator=draw)


def _between_alike(
    rows_VD: Tensor, start_ED: Tensor, content_MD: Tensor, items: ItemFeatures
) -> Tensor:
    """Return the mean row of the old items nearest in content; without metadata ``start_ED``."""
    num_old, size = len(rows_VD), items.num_vocabulary
    is_described_M = items.is_described
    known = is_described_M[:num_old].nonzero()[:, 0]
    if not len(known):
        return start_ED
    old_KD, count = content_MD[known], min(NUM_ALIKE, len(known))
    near_EK = torch.cat(
        [
            torch.cdist(part_XD, old_KD).topk(count, largest=False).indices
            for part_XD in torch.split(content_MD[num_old:size], _AT_ONCE)
        ]
    )
    between_ED = rows_VD[known[near_EK]].mean(dim=1)
    return torch.where(is_described_M[num_old:size, None], between_ED, start_ED)
