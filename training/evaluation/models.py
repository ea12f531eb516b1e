"""A trained model as a system: its published vectors, answering questions."""

from datetime import datetime

import numpy as np

from training.artifact import Model
from training.cuts import of_users
from training.evaluation.asked import Asked
from training.evaluation.ranking import Float32, Score
from training.inference import item_features, item_vectors, vectors_at
from training.loop import deterministic
from training.tokens.targets import microseconds

_AT_ONE_TIME = 4096
"""Questions: bounds the histories that are read at once."""


def model_score(model: Model, asked: Asked, *, as_of: datetime | None = None) -> Score:
    """Return the products of item vectors with each history's vector.

    Args:
        model: what is asked; it saw none of the targets.
        asked: the questions.
        as_of: encode all histories at this instant, so that nothing is known of when a question
            comes; by default each at the instant at which it is asked.
    """
    at_Q = asked.at_Q if as_of is None else np.full_like(asked.at_Q, microseconds(as_of))
    with deterministic(model.config.num_threads):
        items = item_features(model, asked.catalogue)
        item_MS = item_vectors(model, items)[items.rows(asked.candidates).numpy()]
        user_QS = np.empty((len(at_Q), item_MS.shape[1]), dtype=np.float32)
        for start in range(0, len(at_Q), _AT_ONE_TIME):
            rows = np.arange(start, min(start + _AT_ONE_TIME, len(at_Q)))
            histories = of_users(asked.histories, rows)
            user_QS[rows] = vectors_at(model, items, histories, at_Q[rows])

    def score(users: slice) -> Float32:
        scores: Float32 = user_QS[users] @ item_MS.T
        return scores

    return score
