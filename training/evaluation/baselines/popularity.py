"""Baselines without a user: how often an item was chosen before the question."""

from datetime import datetime, timedelta

import numpy as np

from training.contracts import Int64
from training.evaluation.asked import Sequences
from training.evaluation.ranking import Float32, Score
from training.tokens.targets import microseconds

RECENT_DAYS = 7


def popularity(learned: Sequences) -> Score:
    """Return a score that counts all choices, those of which only the order is known as well."""
    return _constant(learned.counts())


def recent_popularity(learned: Sequences, *, until: datetime) -> Score:
    """Return a score that counts the choices of the last week before an instant."""
    is_recent = learned.first_at_T >= microseconds(until - timedelta(days=RECENT_DAYS))
    recent = learned.candidate_T[is_recent]
    return _constant(np.bincount(recent, minlength=learned.num_candidates))


def _constant(counts_M: Int64) -> Score:
    scores = counts_M.astype(np.float32)

    def score(users: slice) -> Float32:
        return np.broadcast_to(scores, (users.stop - users.start, len(scores)))

    return score
