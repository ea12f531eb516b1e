from collections import Counter
from typing import Any

import numpy as np
import pytest

from lake.days import start_of
from training.evaluation.asked import Sequences, sequences_of
from training.evaluation.baselines.popularity import popularity, recent_popularity
from training.evaluation.questions import Questions, ask_day
from training.tokens.targets import is_target


@pytest.fixture(scope="module")
def questions(small_lake: Any) -> Questions:
    day = small_lake.days[4]
    return ask_day(small_lake.data(day), day)


def chosen(questions: Questions) -> Sequences:
    return sequences_of(questions.histories, questions.schema, questions.candidates)


def test_popularity_counts_the_targets_before_the_day(questions: Questions) -> None:
    histories = questions.histories
    counted = Counter(
        histories.items[code]
        for code in histories.item_code[is_target(histories, questions.schema)]
    )

    scores = popularity(chosen(questions))(slice(0, 2))

    assert scores.shape == (2, len(questions.candidates))
    assert scores[0].tolist() == [counted[item] for item in questions.candidates]
    assert (scores[0] == scores[1]).all()


def test_recent_popularity_counts_the_last_week_only(questions: Questions) -> None:
    # all of the log is of the last week, so both agree until tokens are made older
    until = start_of(questions.day)
    whole = popularity(chosen(questions))(slice(0, 1))
    recent = recent_popularity(chosen(questions), until=until)(slice(0, 1))
    np.testing.assert_array_equal(whole, recent)

    week_us = 7 * 86_400 * 1_000_000
    questions.histories.first_at[:100] -= week_us
    try:
        older = recent_popularity(chosen(questions), until=until)(slice(0, 1))
    finally:
        questions.histories.first_at[:100] += week_us
    lost = is_target(questions.histories, questions.schema)[:100].sum()
    assert whole.sum() - older.sum() == lost > 0
