"""Systems of one run against each other: means, intervals, paired differences, and slices.

Legend: Q questions, K metrics, as ``asked.Asked`` has them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.contracts import Float64
from training.cuts import Bool
from training.evaluation.asked import CUTS, Asked, candidate_of_token
from training.evaluation.intervals import Estimate, estimates
from training.evaluation.lists import diversity, genre_shares, miscalibration, novelty
from training.evaluation.ranking import Float32, Ranks, coverage, metric_names

NAMES = metric_names(CUTS)
"""Of the columns of every float64[Q, K] here."""

FEW = 5
"""Occurrences in training under which an item is nearly new."""

_HISTORY_LENGTHS = (0, 5, 20, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Some of the questions."""

    num_questions: int
    num_users: int
    means: Mapping[str, Mapping[str, Estimate]]
    """By system or difference, then by metric."""


def differences(
    metrics: Mapping[str, Float64], pairs: Sequence[tuple[str, str]]
) -> dict[str, Float64]:
    """Return ``metrics`` and, as ``"a - b"``, what a gains over b on each question."""
    return {
        **metrics,
        **{f"{one} - {other}": metrics[one] - metrics[other] for one, other in pairs},
    }


def estimated(asked: Asked, metrics: Mapping[str, Float64], where: Bool | None = None) -> Slice:
    """Return means over questions, all or some, with intervals over users.

    The same users are drawn for all of ``metrics``, so an interval of a difference is paired.
    """
    rows = np.arange(len(asked.user_Q)) if where is None else np.flatnonzero(where)
    _, user_R, counts_U = np.unique(asked.user_Q[rows], return_inverse=True, return_counts=True)
    if not len(rows):
        return Slice(num_questions=0, num_users=0, means={})
    sums = [
        np.bincount(user_R, weights=column, minlength=len(counts_U))
        for values in metrics.values()
        for column in values[rows].T
    ]
    found = iter(estimates(np.stack(sums, axis=1), counts_U))
    means = {name: {metric: next(found) for metric in NAMES} for name in metrics}
    return Slice(num_questions=len(rows), num_users=len(counts_U), means=means)


def slices(asked: Asked) -> dict[str, Bool]:
    """Return which questions are of each slice: by the target's item, the history, and groups."""
    learned = candidate_of_token(asked.learned, asked.candidates)
    counts_M = np.bincount(learned[learned >= 0], minlength=len(asked.candidates))
    counts_Q = counts_M[asked.target_Q]
    found: dict[str, Bool] = {
        "item unseen in training": counts_Q == 0,
        f"item seen 1 to {FEW - 1} times": (counts_Q > 0) & (counts_Q < FEW),
        f"item seen {FEW} times or more": counts_Q >= FEW,
    }
    found["item in the history"] = asked.is_seen()
    lengths_Q = np.diff(asked.histories.offsets)
    for least, limit in zip(_HISTORY_LENGTHS, (*_HISTORY_LENGTHS[1:], None), strict=True):
        name = f"{least} or more" if limit is None else f"{least} to {limit - 1}"
        is_short = lengths_Q < (np.inf if limit is None else limit)
        found[f"history of {name} tokens"] = (lengths_Q >= least) & is_short
    for attribute, group_Q in asked.groups.items():
        groups = np.array(group_Q)
        found |= {f"{attribute}: {value}": groups == value for value in sorted(set(group_Q))}
    return {name: where for name, where in found.items() if where.any()}


def describe_lists(
    asked: Asked, ranks: Ranks, *, item_MD: Float32 | None = None
) -> dict[str, float]:
    """Return what the first ten are like, in the mean over questions.

    ``item_MD``: vectors of the candidates that the diversity of lists is also measured by; the same
    for all systems that are compared.
    """
    shown = ranks.shown_UC
    shares_MG = genre_shares(asked.catalogue, asked.candidates)
    found = {
        "coverage_at_10": coverage(shown, len(asked.candidates)),
        "novelty_at_10": float(novelty(shown, asked.learned_sequences().counts()).mean()),
    }
    if shares_MG.any():
        off = miscalibration(shown, asked.history_sequences(), shares_MG)
        found["genre_diversity_at_10"] = float(diversity(shown, shares_MG).mean())
        if not np.isnan(off).all():
            found["genre_miscalibration_at_10"] = float(np.nanmean(off))
    if item_MD is not None:
        found["vector_diversity_at_10"] = float(diversity(shown, item_MD).mean())
    return found
