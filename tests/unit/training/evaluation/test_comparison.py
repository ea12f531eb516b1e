from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from training.contracts import Histories
from training.evaluation.asked import Asked
from training.evaluation.comparison import (
    NAMES,
    describe_lists,
    differences,
    estimated,
    slices,
)
from training.evaluation.leave_one_out import leave_one_out
from training.features.catalogue import Catalogue
from training.schema import EventSchema


@pytest.fixture
def asked(
    make_histories: Callable[..., Histories],
    make_catalogue: Callable[..., Catalogue],
    watching: EventSchema,
) -> Asked:
    users = {
        "ann": [*[("a", 0.0)] * 5, ("b", 1.0), ("b", 2.0), ("a", 3.0)],
        "bob": [("b", 0.0), ("c", 1.0), ("b", 2.0)],
        "cy": [("a", 0.0), ("a", 1.0), ("c", 2.0)],
    }
    return leave_one_out(
        make_histories(users),
        schema=watching,
        catalogue=make_catalogue([{"item_id": item} for item in "abc"]),
        ask="test",
        groups={"age": {"ann": "18", "bob": "50", "cy": "18"}},
    )


def test_slices_are_of_the_target_the_history_and_the_groups(asked: Asked) -> None:
    found = {name: where.tolist() for name, where in slices(asked).items()}

    # learned: a six times, b twice, c never; asked: a, b, c
    assert found == {
        "item unseen in training": [False, False, True],
        "item seen 1 to 4 times": [False, True, False],
        "item seen 5 times or more": [True, False, False],
        "item in the history": [True, True, False],
        "history of 0 to 4 tokens": [False, True, True],
        "history of 5 to 19 tokens": [True, False, False],
        "age: 18": [True, False, True],
        "age: 50": [False, True, False],
    }


def columns(*of_questions: float) -> np.ndarray:
    return np.repeat(np.array(of_questions)[:, None], len(NAMES), axis=1)


def test_a_mean_over_some_questions_is_over_their_users_alone(asked: Asked) -> None:
    metrics = differences(
        {"one": columns(1, 0, 0.5), "other": columns(0, 0, 0.5)}, [("one", "other")]
    )

    whole = estimated(asked, metrics)
    young = estimated(asked, metrics, slices(asked)["age: 18"])
    nobody = estimated(asked, metrics, np.zeros(3, dtype=bool))

    assert (whole.num_questions, whole.num_users) == (3, 3)
    assert whole.means["one"]["mrr"].value == pytest.approx(0.5)
    assert whole.means["one - other"]["hr_at_10"].value == pytest.approx(1 / 3)
    assert (young.num_questions, young.num_users) == (2, 2)
    assert young.means["other"]["mrr"].value == pytest.approx(0.25)
    assert (nobody.num_questions, nobody.means) == (0, {})


def test_a_constant_gain_on_every_question_is_certain(asked: Asked) -> None:
    noise = columns(0.3, 0.9, 0.1)
    metrics = differences({"one": noise + 0.05, "other": noise}, [("one", "other")])

    found = estimated(asked, metrics).means

    gain = found["one - other"]["mrr"]
    assert (gain.low, gain.high) == pytest.approx((0.05, 0.05))
    assert found["one"]["mrr"].high - found["one"]["mrr"].low > 0.1


def test_questions_of_one_user_are_drawn_together(asked: Asked) -> None:
    same = replace(asked, user_Q=np.array([7, 7, 7]))

    found = estimated(same, {"one": columns(0, 1, 0)})

    mrr = found.means["one"]["mrr"]
    assert (found.num_users, mrr.low, mrr.high) == (1, pytest.approx(1 / 3), pytest.approx(1 / 3))


def test_lists_are_described_by_what_the_data_has(asked: Asked) -> None:
    ranks = asked.rank(lambda users: np.zeros((users.stop - users.start, 3), np.float32), seen=None)
    without = replace(asked, catalogue=replace(asked.catalogue, genres=[()] * 3))

    found = describe_lists(asked, ranks, item_MD=np.eye(3, dtype=np.float32))

    assert found["coverage_at_10"] == 1
    assert found["genre_diversity_at_10"] == pytest.approx(0)  # all of them are dramas
    assert found["genre_miscalibration_at_10"] == pytest.approx(0)
    assert found["vector_diversity_at_10"] == pytest.approx(1)
    assert set(describe_lists(without, ranks)) == {"coverage_at_10", "novelty_at_10"}
