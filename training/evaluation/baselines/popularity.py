"""Baselines without a user: how often an item was a target before the day."""

from datetime import timedelta

import numpy as np

from lake.days import start_of
from training.evaluation.questions import Questions
from training.evaluation.ranking import Float32, Score
from training.tokens.targets import is_target, microseconds

RECENT_DAYS = 7


def popularity(questions: Questions, *, recent: bool) -> Score:
    """Return a score that counts targets in all history, or in the last week before the day.

    All history includes prefixes, of which only the order is known.
    """
    histories = questions.histories
    counted = is_target(histories, questions.schema)
    if recent:
        since = start_of(questions.day) - timedelta(days=RECENT_DAYS)
        counted &= histories.first_at >= microseconds(since)
    counts = np.bincount(histories.item_code[counted], minlength=len(histories.items))
    by_item = dict(zip(histories.items, counts.tolist(), strict=True))
    scores: Float32 = np.array([by_item.get(item, 0) for item in questions.candidates], np.float32)

    def score(users: slice) -> Float32:
        return np.broadcast_to(scores, (users.stop - users.start, len(scores)))

    return score
