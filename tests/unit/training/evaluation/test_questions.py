from typing import Any

import numpy as np
import pytest

from lake.days import end_of, start_of
from training.errors import NoDataError
from training.evaluation.questions import Questions, ask_day
from training.held_out import is_held_out
from training.tokens.targets import targets_of_day


@pytest.fixture(scope="module")
def questions(small_lake: Any) -> Questions:
    day = small_lake.days[4]
    return ask_day(small_lake.data(day), day)


def asked(questions: Questions) -> set[tuple[str, str]]:
    return {
        (questions.user_ids[user], questions.candidates[item])
        for user, item in zip(questions.user_R, questions.target_R, strict=True)
    }


def test_every_target_pair_of_the_day_is_asked_once_or_left_out_for_a_reason(
    questions: Questions, small_lake: Any
) -> None:
    day = small_lake.days[4]
    whole = small_lake.data(day).histories()
    rows = np.flatnonzero(targets_of_day(whole, day, questions.schema))
    users = np.searchsorted(whole.offsets, rows, side="right") - 1
    pairs = {
        (whole.user_ids[u], whole.items[i])
        for u, i in zip(users, whole.item_code[rows], strict=True)
    }
    before = questions.histories
    last = {
        user: before.items[before.item_code[end - 1]]
        for user, end in zip(before.user_ids, before.offsets[1:], strict=True)
    }

    expected = {(user, item) for user, item in pairs if last.get(user) != item}
    assert asked(questions) == expected
    assert len(questions.user_R) == len(expected)
    assert questions.num_continued == len(pairs) - len(expected) > 0


def test_histories_end_where_the_day_begins(questions: Questions, small_lake: Any) -> None:
    start_us = int(start_of(small_lake.days[4]).timestamp()) * 1_000_000

    assert questions.histories.last_at.max() < start_us


def test_candidates_are_all_items_valid_on_the_day_also_those_launched_on_it(
    questions: Questions, small_lake: Any
) -> None:
    day = small_lake.days[4]
    catalogue = small_lake.data(day).catalogue()
    valid = catalogue.valid_between(start_of(day), end_of(day))

    assert questions.candidates == tuple(np.array(catalogue.item_ids)[valid])
    launched = set(catalogue.item_ids) - set(
        small_lake.data(small_lake.days[3]).catalogue().item_ids
    )
    assert launched & set(questions.candidates)


def test_held_out_questions_are_of_held_out_users_only(small_lake: Any) -> None:
    day = small_lake.days[4]
    everyone = ask_day(small_lake.data(day), day)
    held_out = ask_day(small_lake.data(day), day, held_out_one_in=8)

    assert is_held_out(held_out.user_ids, day, one_in=8).all()
    expected = np.array(everyone.user_ids)[is_held_out(everyone.user_ids, day, one_in=8)]
    assert held_out.user_ids == tuple(expected)


def test_slices_mark_new_items_and_short_histories(questions: Questions, small_lake: Any) -> None:
    # the vocabulary is younger than a week, so every item is first seen within seven days
    assert questions.is_new_item_R.all()
    lengths = dict(
        zip(questions.histories.user_ids, np.diff(questions.histories.offsets), strict=True)
    )
    for user, is_short in zip(questions.user_R, questions.is_short_history_R, strict=True):
        assert is_short == (lengths.get(questions.user_ids[user], 0) < 5)
    assert questions.is_short_history_R.any()
    assert not questions.is_short_history_R.all()


def test_a_day_after_the_data_is_refused(small_lake: Any) -> None:
    with pytest.raises(NoDataError, match="ends after the data"):
        ask_day(small_lake.data(small_lake.days[3]), small_lake.days[4])
