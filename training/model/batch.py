"""The tensors of some packed windows.

Legend: P positions, F those that come first, U users, A outcome columns, C request categories, N
request numbers.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from training.contracts import Int64
from training.features.tokens import TokenFeatures
from training.model.jagged import Layout
from training.model.sight import Instants
from training.packing import NOTHING, Packed


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What the model reads of some windows."""

    item_P: Tensor
    """int64: item of the token before."""
    outcome_PA: Tensor
    first_F: Tensor
    """int64: the positions without a token before."""
    request_PC: Tensor
    request_PN: Tensor
    gap_P: Tensor
    instants: Instants
    layout: Layout

    def hide_requests(self, hidden_P: Tensor) -> "Batch":
        """Return the batch with the request of some positions unknown; the gap stays known."""
        kept_P1 = ~hidden_P[:, None]
        return replace(
            self, request_PC=self.request_PC * kept_P1, request_PN=self.request_PN * kept_P1
        )

    def hide_gaps(self, hidden_P: Tensor) -> "Batch":
        """Return the batch with the time since the token before unknown at some positions."""
        return replace(self, gap_P=self.gap_P * ~hidden_P)


def gather_batch(tokens: TokenFeatures, packed: Packed, layout: Layout | None = None) -> Batch:
    """Return the batch of packed windows."""
    current = torch.from_numpy(packed.current_P)
    has_previous = packed.previous_P != NOTHING
    # the last outcome row is the empty one, which positions without a past read
    before = torch.from_numpy(np.where(has_previous, packed.previous_P, tokens.num_tokens))
    return Batch(
        item_P=tokens.item_T[before],
        outcome_PA=tokens.outcome_TA[before],
        first_F=torch.from_numpy(np.flatnonzero(~has_previous)),
        request_PC=tokens.request_TC[current],
        request_PN=tokens.request_TN[current],
        gap_P=tokens.gap_T[current],
        instants=Instants(tokens.known_at_T[before], tokens.asked_at_T[current]),
        layout=layout or Layout.of(packed.lengths_W),
    )


def gather_steps(tokens: TokenFeatures, users: Int64, *, count: int) -> list[Batch]:
    """Return the newest ``count`` tokens of each user, oldest first: a position per user and step.

    Each of the users has so many; the ones before them are not read, but for the last.
    """
    newest_U = tokens.offsets[users + 1] - 1
    return [_step(tokens, users, newest_U - age) for age in reversed(range(count))]


def gather_queries(tokens: TokenFeatures, users: Int64) -> Batch:
    """Return the position after each user's newest token: at ``as_of``, the request unknown."""
    return _step(tokens, users, tokens.offsets[users + 1], queries=tokens.num_tokens + users)


def _step(
    tokens: TokenFeatures, users: Int64, place_U: Int64, *, queries: Int64 | None = None
) -> Batch:
    packed = Packed(
        previous_P=np.where(place_U > tokens.offsets[users], place_U - 1, NOTHING),
        current_P=place_U if queries is None else queries,
        lengths_W=np.ones_like(users),
        window_W=users,
    )
    return gather_batch(tokens, packed)
