"""A trained model as a system: its published vectors, answering questions."""

from datetime import UTC, datetime

import numpy as np

from training.artifact import Model
from training.contracts import Int64
from training.evaluation.asked import Asked
from training.evaluation.cuts import of_users
from training.evaluation.ranking import Float32, Score
from training.features.instants import HOUR_US
from training.inference import item_features, item_vectors, user_vectors
from training.loop import deterministic


def model_score(model: Model, asked: Asked, *, as_of: datetime | None = None) -> Score:
    """Return the products of item vectors with each history's vector.

    Args:
        model: what is asked; it saw none of the targets.
        asked: the questions.
        as_of: encode all histories at this instant, so that nothing is known of when a question
            comes; by default each at the hour in which it is asked.
    """
    with deterministic(model.config.num_threads):
        items = item_features(model, asked.catalogue)
        item_MS = item_vectors(model, items)[items.rows(asked.candidates).numpy()]
        user_QS = np.empty((len(asked.user_Q), item_MS.shape[1]), dtype=np.float32)
        for rows, instant in _occasions(asked, as_of):
            histories = of_users(asked.histories, rows)
            user_QS[rows] = user_vectors(
                model, items, histories, users=histories.user_ids, as_of=instant
            )

    def score(users: slice) -> Float32:
        scores: Float32 = user_QS[users] @ item_MS.T
        return scores

    return score


def _occasions(asked: Asked, as_of: datetime | None) -> list[tuple[Int64, datetime]]:
    """Return the questions that are encoded at once, and when."""
    if as_of is not None:
        return [(np.arange(len(asked.user_Q)), as_of)]
    hours_Q = asked.at_Q // HOUR_US
    return [
        (np.flatnonzero(hours_Q == hour), datetime.fromtimestamp(int(hour) * 3600, tz=UTC))
        for hour in np.unique(hours_Q)
    ]
