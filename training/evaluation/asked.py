"""Questions with one target each, whatever the protocol that chose them.

Every system of a run gets the same: what it may learn from, a history per question, and candidates
in an order that says nothing. Legend: Q questions, M candidates, T tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from training.contracts import Float64, Histories, Int64
from training.evaluation.ranking import Ranks, Score, Seen, expected_metrics, rank
from training.features.catalogue import Catalogue
from training.schema import EventSchema
from training.tokens.targets import is_target

CUTS = (10, 50, 200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """Candidates that people chose, in time order, jagged; only tokens that are targets."""

    offsets: Int64
    candidate_T: Int64
    first_at_T: Int64
    num_candidates: int

    def token_users(self) -> Int64:
        """Return the position of each token's sequence."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def counts(self) -> Int64:
        """Return how often each candidate was chosen, int64[M]."""
        return np.bincount(self.candidate_T, minlength=self.num_candidates)


def sequences_of(
    histories: Histories, schema: EventSchema, candidates: tuple[str, ...]
) -> Sequences:
    """Return the targets of histories as positions in ``candidates``; other items are left out."""
    candidate_T = candidate_of_token(histories, candidates)
    is_kept = is_target(histories, schema) & (candidate_T >= 0)
    return Sequences(
        offsets=np.concatenate(([0], np.cumsum(is_kept)))[histories.offsets],
        candidate_T=candidate_T[is_kept],
        first_at_T=histories.first_at[is_kept],
        num_candidates=len(candidates),
    )


def candidate_of_token(histories: Histories, candidates: tuple[str, ...]) -> Int64:
    """Return int64[T]: the position of each token's item in ``candidates``, -1 for no candidate."""
    position = {item: at for at, item in enumerate(candidates)}
    of_code = np.array([position.get(item, -1) for item in histories.items], dtype=np.int64)
    return of_code[histories.item_code] if len(of_code) else np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One target per question, among all candidates."""

    schema: EventSchema
    catalogue: Catalogue
    learned: Histories
    """What systems may learn from."""
    histories: Histories
    """One per question, up to it: the "user" at position q is question q."""
    candidates: tuple[str, ...]
    """By id."""
    target_Q: Int64
    user_Q: Int64
    """Who is asked: intervals draw users, with all of their questions."""
    at_Q: Int64
    """When, in µs UTC; ``UNKNOWN_INSTANT`` where only the order is known."""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By attribute, such as the canvas: the group of each question."""

    def learned_sequences(self) -> Sequences:
        """Return what people chose, of what systems may learn from."""
        return sequences_of(self.learned, self.schema, self.candidates)

    def history_sequences(self) -> Sequences:
        """Return what was chosen before each question."""
        return sequences_of(self.histories, self.schema, self.candidates)

    def seen(self) -> Seen:
        """Return every candidate of each question's history, whatever was done with it."""
        candidate_T = candidate_of_token(self.histories, self.candidates)
        is_kept = candidate_T >= 0
        return Seen(
            offsets=np.concatenate(([0], np.cumsum(is_kept)))[self.histories.offsets],
            candidate_T=candidate_T[is_kept],
        )

    def is_seen(self) -> npt.NDArray[np.bool_]:
        """Return bool[Q]: the history holds the target, lost where seen items are removed."""
        seen = self.seen()
        target_T = np.repeat(self.target_Q, np.diff(seen.offsets))
        running = np.concatenate(([0], np.cumsum(seen.candidate_T == target_T)))
        found: npt.NDArray[np.bool_] = np.diff(running[seen.offsets]) > 0
        return found

    def rank(self, score: Score, *, seen: Seen | None) -> Ranks:
        """Return where the targets stand under a score, without what is ``seen``."""
        return rank(
            score,
            np.arange(len(self.target_Q)),
            self.target_Q,
            num_users=len(self.target_Q),
            num_candidates=len(self.candidates),
            seen=seen,
        )

    def metrics(self, ranks: Ranks) -> Float64:
        """Return float64[Q, K], columns as ``metric_names(CUTS)``."""
        return expected_metrics(ranks.above_R, ranks.tied_R, len(self.candidates), cuts=CUTS)
