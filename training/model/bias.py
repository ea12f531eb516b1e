"""What a head adds to its scores by distance in positions and in time.

Learned per distance, and per power of two of seconds; zero at the start, so that a model begins as
the one without it. Shape suffixes: B rows, H heads, C chunks, Q queries, M keys, N codes. Sources:
arXiv:1910.10683, sec. 2.1 (added to scores); arXiv:2402.17152, sec. 3 (time, logarithmic).
"""

import torch
from torch import Tensor, nn

from training.config.model import ModelConfig
from training.model.sight import NUM_ELAPSED_CODES, Sight


class RelativeBias(nn.Module):
    """Weights of a layer's heads by distance."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        heads = config.num_heads
        self.by_position = nn.Parameter(torch.zeros(heads, config.max_seq_len))
        if "time" in config.relative_bias:
            self.by_time = nn.Parameter(torch.zeros(heads, NUM_ELAPSED_CODES))

    def forward(self, sight: Sight) -> Tensor:
        """Return ``[B, H, C, Q, M]``, B = 1 where all rows have the same."""
        bias_BHCQM = _look_up(self.by_position, sight.distance_BCQM)
        if sight.elapsed_BCQM is not None:
            bias_BHCQM = bias_BHCQM + _look_up(self.by_time, sight.elapsed_BCQM)
        return bias_BHCQM


def _look_up(table_HN: Tensor, code_BCQM: Tensor) -> Tensor:
    rows_HX = table_HN.index_select(1, code_BCQM.flatten())
    return rows_HX.view(-1, *code_BCQM.shape).transpose(0, 1)
