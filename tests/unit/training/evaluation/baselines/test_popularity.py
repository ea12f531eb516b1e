from collections import Counter
from typing import Any

import numpy as np
import pytest

from training.evaluation.popularity import popularity
from training.evaluation.questions import Questions, ask_day
from training.tokens.targets import is_target


@pytest.fixture(scope="module")
def questions(small_lake: Any) -> Questions:
    day = small_lake.days[4]
    return ask_day(small_lake.data(day), day)


def test_popularity_counts_the_targets_before_the_day(questions: Questions) -> None:
    histories = questions.histories
    counted = Counter(
        histories.items[code]
        for code in histories.item_code[is_target(histories, questions.schema)]
    )

    scores = popularity(questions, recent=False)(slice(0, 2))

    assert scores.shape == (2, len(questions.candidates))
    assert scores[0].tolist() == [counted[item] for item in questions.candidates]
    assert (scores[0] == scores[1]).all()


def test_recent_popularity_counts_the_last_week_only(questions: Questions) -> None:
    # all of the log is of the last week, so both agree until tokens are made older
    whole = popularity(questions, recent=False)(slice(0, 1))
    recent = popularity(questions, recent=True)(slice(0, 1))
    np.testing.assert_array_equal(whole, recent)

    week_us = 7 * 86_400 * 1_000_000
    questions.histories.first_at[:100] -= week_us
    try:
        older = popularity(questions, recent=True)(slice(0, 1))
    finally:
        questions.histories.first_at[:100] += week_us
    lost = is_target(questions.histories, questions.schema)[:100].sum()
    assert whole.sum() - older.sum() == lost > 0
