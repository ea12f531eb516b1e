"""Weight rows of several categorical columns in one table."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class CategoryEmbedding(nn.Module):
    """One weight row per column and code, side by side: ``[..., C]`` codes to ``[..., C * d]``."""

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        """Take the number of codes of every column, code 0 being unknown."""
        super().__init__()
        self.rows = nn.Embedding(sum(sizes), width)
        nn.init.normal_(self.rows.weight, std=0.3)
        starts = torch.tensor([0, *sizes[:-1]], dtype=torch.int64).cumsum(0)
        self.register_buffer("starts", starts, persistent=False)
        self.starts: Tensor

    def forward(self, codes: Tensor) -> Tensor:
        """Return the columns' weight rows, concatenated."""
        rows: Tensor = self.rows(codes + self.starts)
        return rows.flatten(-2)
