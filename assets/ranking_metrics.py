"""How well scores order what was shown, and how sure a difference is.

Intervals are paired bootstraps over users: a draw counts every user's rows as often as the user was
drawn, in both rankings, so what is common to both cancels.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of two rankings of the same rows."""

    metric: str
    with_embeddings: float
    without_embeddings: float
    difference: float
    lower: float
    """Lower end of the 95% interval of the difference."""
    upper: float

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def compare_auc(
    labels: Int64, users: Int64, better: Float64, plain: Float64, *, draws: npt.NDArray[np.int64]
) -> Comparison:
    """Return the area under the ROC curve over all rows.

    Args:
        labels: 0 or 1 per row.
        users: code of each row's user, in ``[0, draws.shape[1])``.
        better: scores with embeddings.
        plain: scores without.
        draws: int[R, U], how often each user is in each draw.
    """
    return _compare(
        "auc, all exposures",
        lambda scores, weights: auc(labels, scores, weights[:, users]),
        better,
        plain,
        draws,
    )


def compare_ndcg(
    labels: Int64, users: Int64, better: Float64, plain: Float64, *, draws: npt.NDArray[np.int64]
) -> Comparison:
    """Return the NDCG of each user's list of the day, mean over users with a choice to find."""

    def mean(scores: Float64, weights: npt.NDArray[np.int64]) -> Float64:
        values = ndcg_by_user(labels, users, scores, draws.shape[1])
        counted = weights * np.isfinite(values)
        total: Float64 = counted @ np.nan_to_num(values) / counted.sum(axis=1)
        return total

    return _compare("ndcg, mean over users", mean, better, plain, draws)


def draw_users(num_users: int, *, num_draws: int, seed: int) -> npt.NDArray[np.int64]:
    """Return int[R, U]: row 0 counts every user once, the others are bootstrap draws."""
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(num_users, np.full(num_users, 1 / num_users), size=num_draws)
    return np.vstack([np.ones((1, num_users), dtype=np.int64), drawn])


def ndcg_by_user(labels: Int64, users: Int64, scores: Float64, num_users: int) -> Float64:
    """Return float[U]: NDCG of the user's rows by score, binary gain; NaN without both labels.

    Rows of equal score share their places' mean discount, so the rows' order never helps.
    """
    order = np.lexsort((-scores, users))
    user, label, score = users[order], labels[order], scores[order]
    starts = np.flatnonzero(np.diff(user, prepend=-1))
    sizes = np.diff(np.append(starts, len(user)))
    discount = 1 / np.log2(np.arange(len(user)) - np.repeat(starts, sizes) + 2)
    tie = np.cumsum((np.diff(user, prepend=-1) != 0) | (np.diff(score, prepend=np.nan) != 0)) - 1
    mean_discount = (np.bincount(tie, discount) / np.bincount(tie))[tie]
    gained = np.bincount(user, mean_discount * label, minlength=num_users)
    found = np.bincount(user, label, minlength=num_users).astype(np.int64)
    shown = np.bincount(user, minlength=num_users)
    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(shown.max()) + 2))])[found]
    is_telling = (found > 0) & (found < shown)
    return np.where(is_telling, gained / np.where(ideal > 0, ideal, 1.0), np.nan)


def auc(labels: Int64, scores: Float64, weights: npt.NDArray[np.int64]) -> Float64:
    """Return float[R]: the chance that a chosen row outscores another, ties half, by draw.

    ``weights`` is int[R, N]: how often each row is in each draw.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)
    ordered, chosen = weights[:, order].astype(np.float64), labels[order] == 1
    positive = np.add.reduceat(ordered * chosen, starts, axis=1)
    negative = np.add.reduceat(ordered * ~chosen, starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    area: Float64 = (positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))
    return area


def _compare(
    metric: str,
    figure: Callable[[Float64, npt.NDArray[np.int64]], Float64],
    better: Float64,
    plain: Float64,
    draws: npt.NDArray[np.int64],
) -> Comparison:
    first, second = figure(better, draws), figure(plain, draws)
    lower, upper = np.quantile((first - second)[1:], [0.025, 0.975])
    return Comparison(
        metric=metric,
        with_embeddings=float(first[0]),
        without_embeddings=float(second[0]),
        difference=float(first[0] - second[0]),
        lower=float(lower),
        upper=float(upper),
    )
