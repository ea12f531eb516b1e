"""The ceiling of the simulated world: the true worth of every title to a user on a day.

No step of the pipeline may read it. What stays above a model is what nobody could learn: moods of
a session, what a page happened to show, chance.
"""

import numpy as np

from benchmarks.quality.systems import Fitted, System
from training.contracts import Histories
from training.evaluation.asked import Asked
from training.evaluation.ranking import Float32
from training.events.truth import GroundTruth

NAME = "true worth"


def oracle(truth: GroundTruth, asked: Asked, log: Histories) -> System:
    """Return the system that knows the worth of the candidates on the day of each question.

    ``log``: the histories whose users ``asked`` counts. A delay does not make it forget.
    """
    score = _worth(truth, asked, log)
    return System(name=NAME, fitted=Fitted(score=lambda _: lambda rows: score[rows]))


def _worth(truth: GroundTruth, asked: Asked, log: Histories) -> Float32:
    worth = np.empty((len(asked.user_Q), len(asked.candidates)), dtype=np.float32)
    day_of = asked.at_Q.astype("datetime64[us]").astype("datetime64[D]")
    for day in np.unique(day_of):
        users, items, of_all = truth.relevance(day.item())
        row_of = {user: row for row, user in enumerate(users)}
        column_of = {item: column for column, item in enumerate(items)}
        rows = np.flatnonzero(day_of == day)
        own = [row_of[log.user_ids[user]] for user in asked.user_Q[rows].tolist()]
        columns = [column_of[item] for item in asked.candidates]
        worth[rows] = of_all[np.ix_(own, columns)]
    return worth
