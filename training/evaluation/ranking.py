"""Exact expected metrics of a ranking with ties.

Candidates with equal scores are taken to be in uniformly random order, and a metric is its
expectation over that order: no order of items in memory can flatter a model, and a constant score
gets what guessing gets. Legend: U users, M candidates, R targets, K metrics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.contracts import Float64, Int64

Float32 = npt.NDArray[np.float32]

CUT = 10
METRICS = ("hr_at_10", "ndcg_at_10", "mrr")

Score = Callable[[slice], Float32]
"""Scores of some users, ``[u, M]``."""

_USERS_PER_CHUNK = 256
_TIE_SEED = 20_250_101


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Candidates that each user has seen, jagged."""

    offsets: Int64
    """int64[U+1]."""
    candidate_T: Int64

    def removed(self, scores: Float32, users: slice) -> Float32:
        """Return a copy of these users' scores, minus infinity where the user has seen."""
        own = slice(self.offsets[users.start], self.offsets[users.stop])
        lengths = np.diff(self.offsets[users.start : users.stop + 1])
        left = np.array(scores)
        left[np.repeat(np.arange(len(lengths)), lengths), self.candidate_T[own]] = -np.inf
        return left


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """Where every target stands, and what every user is shown."""

    above_R: Int64
    """Candidates with a higher score."""
    tied_R: Int64
    """Candidates with this score, the target itself counted; 0 where the target was removed."""
    shown_UC: Int64
    """int64[U, CUT]: each user's first candidates, in no order; ties by a fixed random order."""


def metric_names(cuts: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the columns of ``expected_metrics``."""
    of_cuts = [f"{name}_at_{cut}" for cut in cuts for name in ("hr", "ndcg")]
    return (*of_cuts, "mrr")


def expected_metrics(
    num_above: Int64, num_tied: Int64, num_candidates: int, *, cuts: Sequence[int] = (CUT,)
) -> Float64:
    """Return float64[R, K] of targets with so many candidates above and equal.

    ``num_tied`` counts the target itself; where it is 0 the target cannot be shown and gains
    nothing. The mean of a gain over the ranks ``above + 1`` to ``above + tied`` comes from its
    running sum.
    """
    rank = np.arange(1, num_candidates + 1, dtype=np.float64)
    gains: list[Float64] = []
    for cut in cuts:
        gains += [
            (rank <= cut).astype(np.float64),
            np.where(rank <= cut, 1.0 / np.log2(rank + 1.0), 0.0),
        ]
    columns = []
    for gain in (*gains, 1.0 / rank):
        running = np.concatenate(([0.0], np.cumsum(gain)))
        found = running[num_above + num_tied] - running[num_above]
        columns.append(found / np.maximum(num_tied, 1))
    return np.stack(columns, axis=1)


def rank(
    score: Score,
    user_R: Int64,
    target_R: Int64,
    *,
    num_users: int,
    num_candidates: int,
    seen: Seen | None = None,
) -> Ranks:
    """Return the place of every target among all candidates, or among those the user has not seen.

    Args:
        score: gives the scores of a slice of users.
        user_R: user of each target, ascending.
        target_R: candidate of each target.
        num_users: U.
        num_candidates: M.
        seen: what is removed; where too little is left for a list, it fills the rest.
    """
    above = np.empty(len(user_R), dtype=np.int64)
    tied = np.empty(len(user_R), dtype=np.int64)
    shown = np.empty((num_users, min(CUT, num_candidates)), dtype=np.int64)
    for start in range(0, num_users, _USERS_PER_CHUNK):
        users = slice(start, min(start + _USERS_PER_CHUNK, num_users))
        scores = score(users)
        if seen is not None:
            scores = seen.removed(scores, users)
        part = slice(*np.searchsorted(user_R, (users.start, users.stop)))
        rows = scores[user_R[part] - start]
        own = np.take_along_axis(rows, target_R[part, None], axis=1)
        above[part] = (rows > own).sum(axis=1)
        tied[part] = np.where(np.isneginf(own[:, 0]), 0, (rows == own).sum(axis=1))
        shown[users] = _first(scores)
    return Ranks(above_R=above, tied_R=tied, shown_UC=shown)


def rank_targets(
    score: Score, user_R: Int64, target_R: Int64, *, num_users: int, num_candidates: int
) -> tuple[Float64, float]:
    """Return the ``METRICS`` of every target, and the share of candidates in any first ten."""
    ranks = rank(score, user_R, target_R, num_users=num_users, num_candidates=num_candidates)
    metrics = expected_metrics(ranks.above_R, ranks.tied_R, num_candidates)
    return metrics, coverage(ranks.shown_UC, num_candidates)


def coverage(shown_UC: Int64, num_candidates: int) -> float:
    """Return the share of candidates that anyone is shown."""
    return float(np.bincount(shown_UC.ravel(), minlength=num_candidates).astype(bool).mean())


def _first(scores: Float32) -> Int64:
    """Return each row's first ``CUT`` columns; ties at the cut by a fixed random order."""
    num_candidates = scores.shape[1]
    if num_candidates <= CUT:
        return np.broadcast_to(np.arange(num_candidates), scores.shape)
    first = np.argpartition(scores, num_candidates - CUT, axis=1)[:, -CUT:]
    least = np.take_along_axis(scores, first, axis=1).min(axis=1)
    key = np.random.default_rng(_TIE_SEED).permutation(num_candidates)
    for row in np.flatnonzero((scores >= least[:, None]).sum(axis=1) > CUT):
        sure = np.flatnonzero(scores[row] > least[row])
        tied = np.flatnonzero(scores[row] == least[row])
        first[row] = np.concatenate([sure, tied[np.argsort(key[tied])][: CUT - len(sure)]])
    return first
