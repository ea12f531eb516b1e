"""The tensors of some packed rows.

Legend: B rows, L positions, A outcome columns, C request categories, N request numbers.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from training.contracts import Int64
from training.features.tokens import TokenFeatures
from training.packing import NOTHING, PackedRows


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What the model reads of some rows; padding holds zeros."""

    item_BL: Tensor
    """int64: item of the token before."""
    outcome_BLA: Tensor
    has_previous_BL: Tensor
    request_BLC: Tensor
    request_BLN: Tensor
    gap_BL: Tensor
    segment_BL: Tensor
    position_BL: Tensor

    def hide_requests(self, hidden_BL: Tensor) -> "Batch":
        """Return the batch with the request of some positions unknown; the gap stays known."""
        kept_BL1 = ~hidden_BL[..., None]
        return replace(
            self,
            request_BLC=self.request_BLC * kept_BL1,
            request_BLN=self.request_BLN * kept_BL1,
        )


def gather_batch(tokens: TokenFeatures, rows: PackedRows, chosen: Int64) -> Batch:
    """Return the batch of the rows ``chosen``."""
    previous = rows.previous_RL[chosen]
    current = torch.from_numpy(rows.current_RL[chosen])
    has_previous = previous != NOTHING
    # the last outcome row is the empty one, which positions without a past read
    before = torch.from_numpy(np.where(has_previous, previous, tokens.num_tokens))
    # padding reads the request of any row: nothing reads padding
    current = current.clamp(min=0)
    return Batch(
        item_BL=tokens.item_T[before],
        outcome_BLA=tokens.outcome_TA[before],
        has_previous_BL=torch.from_numpy(has_previous),
        request_BLC=tokens.request_TC[current],
        request_BLN=tokens.request_TN[current],
        gap_BL=tokens.gap_T[current],
        segment_BL=torch.from_numpy(rows.segment_RL[chosen]),
        position_BL=torch.from_numpy(rows.position_RL[chosen]),
    )
