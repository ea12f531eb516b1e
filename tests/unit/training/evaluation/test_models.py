from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lake.days import end_of
from training.artifact import load_model
from training.cuts import with_at_least
from training.evaluation.asked import Asked
from training.evaluation.models import model_score
from training.features.instants import HOUR_US
from training.inference import item_features, item_vectors, user_vectors
from training.tokens.targets import microseconds


@pytest.fixture
def asked(small_lake: Any) -> Callable[[int], Asked]:
    data = small_lake.data(small_lake.days[3])
    histories = with_at_least(data.histories(), 1)
    catalogue = data.catalogue()

    def ask(hour: int) -> Asked:
        num_users = histories.num_users
        at = microseconds(data.as_of) + (np.arange(num_users) % 2 * hour + 3) * HOUR_US
        return Asked(
            schema=data.schema(),
            catalogue=catalogue,
            learned=histories,
            histories=histories,
            candidates=tuple(sorted(catalogue.item_ids)),
            target_Q=np.zeros(num_users, dtype=np.int64),
            user_Q=np.arange(num_users),
            at_Q=at,
        )

    return ask


def test_a_score_is_the_product_of_the_published_vectors(
    trained: Path, asked: Callable[[int], Asked], small_lake: Any
) -> None:
    model, questions = load_model(trained), asked(0)
    as_of = end_of(small_lake.days[3])

    scores = model_score(model, questions, as_of=as_of)(slice(0, 5))

    items = item_features(model, questions.catalogue)
    rows = items.rows(questions.candidates).numpy()
    users = user_vectors(
        model,
        items,
        questions.histories,
        users=questions.histories.user_ids[:5],
        as_of=as_of,
    )
    np.testing.assert_allclose(scores, users @ item_vectors(model, items)[rows].T, atol=1e-5)


def test_each_question_is_encoded_at_its_own_instant(
    trained: Path, asked: Callable[[int], Asked]
) -> None:
    model = load_model(trained)
    soon, apart = (model_score(model, asked(hour))(slice(0, 20)) for hour in (0, 500))

    same = np.abs(soon - apart).max(axis=1)
    assert same[::2].max() < 1e-5
    assert same[1::2].min() > 1e-4
