"""Exact expected metrics of a ranking with ties.

Candidates with equal scores are taken to be in uniformly random order, and a metric is its
expectation over that order: no order of items in memory can flatter a model, and a constant score
gets what guessing gets. Legend: U users, M candidates, R targets.
"""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from training.contracts import Float64, Int64

Float32 = npt.NDArray[np.float32]

CUT = 10
METRICS = ("hr_at_10", "ndcg_at_10", "mrr")

Score = Callable[[slice], Float32]
"""Scores of some users, ``[u, M]``."""

_USERS_PER_CHUNK = 256


def _gains(num_candidates: int) -> Mapping[str, Float64]:
    rank = np.arange(1, num_candidates + 1, dtype=np.float64)
    in_cut = rank <= CUT
    return {
        "hr_at_10": in_cut.astype(np.float64),
        "ndcg_at_10": np.where(in_cut, 1.0 / np.log2(rank + 1.0), 0.0),
        "mrr": 1.0 / rank,
    }


def expected_metrics(num_above: Int64, num_tied: Int64, num_candidates: int) -> Float64:
    """Return float64[R, len(METRICS)] of targets with so many candidates above and equal.

    ``num_tied`` counts the target itself. The mean of a gain over the ranks ``above + 1`` to
    ``above + tied`` comes from its running sum.
    """
    columns = []
    for gain in _gains(num_candidates).values():
        running = np.concatenate(([0.0], np.cumsum(gain)))
        columns.append((running[num_above + num_tied] - running[num_above]) / num_tied)
    return np.stack(columns, axis=1)


def rank_targets(
    score: Score, user_R: Int64, target_R: Int64, *, num_users: int, num_candidates: int
) -> tuple[Float64, float]:
    """Return the metrics of every target and the coverage at 10.

    Args:
        score: gives the scores of a slice of users.
        user_R: user of each target, ascending.
        target_R: candidate of each target.
        num_users: U.
        num_candidates: M.

    Returns:
        float64[R, len(METRICS)], and the share of candidates in any user's first ten.
    """
    above = np.empty(len(user_R), dtype=np.int64)
    tied = np.empty(len(user_R), dtype=np.int64)
    is_shown = np.zeros(num_candidates, dtype=bool)
    for start in range(0, num_users, _USERS_PER_CHUNK):
        users = slice(start, min(start + _USERS_PER_CHUNK, num_users))
        scores = score(users)
        part = slice(*np.searchsorted(user_R, (users.start, users.stop)))
        rows = scores[user_R[part] - start]
        own = np.take_along_axis(rows, target_R[part, None], axis=1)
        above[part] = (rows > own).sum(axis=1)
        tied[part] = (rows == own).sum(axis=1)
        first = np.argpartition(-scores, min(CUT, num_candidates) - 1, axis=1)[:, :CUT]
        is_shown[first] = True
    return expected_metrics(above, tied, num_candidates), float(is_shown.mean())
