import dataclasses
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from assets.exposures import COUNTS, Exposures, read_exposures
from tests.unit.assets.shown_events import SCHEMA, at, day_name, event, write_days
from training.errors import NoDataError

WINDOW = timedelta(hours=2)


def exposures(root: Path, events: list[dict], *, days: list[int], num_days: int = 3) -> Exposures:
    folders = write_days(root, events, num_days=num_days)
    return read_exposures(folders, days=[day_name(day) for day in days], window=WINDOW)


def labels(root: Path, *events: dict) -> list[int]:
    return exposures(root, list(events), days=[0]).rows["label"].to_list()


SHOWN = event("impression", "u", "a", at(0, 10))


def test_a_choice_within_the_window_is_a_success(tmp_path: Path) -> None:
    assert labels(tmp_path, SHOWN, event("play", "u", "a", at(0, 11.9))) == [1]


def test_a_choice_after_the_window_is_none(tmp_path: Path) -> None:
    assert labels(tmp_path, SHOWN, event("play", "u", "a", at(0, 12.1))) == [0]


def test_a_choice_is_dated_by_its_beginning(tmp_path: Path) -> None:
    long_watch = event("play", "u", "a", at(0, 13), watched=int(1.5 * 3600e3))
    assert labels(tmp_path, SHOWN, long_watch) == [1]


def test_a_choice_that_had_ended_is_none(tmp_path: Path) -> None:
    assert labels(tmp_path, SHOWN, event("play", "u", "a", at(0, 9.9))) == [0]


def test_a_play_that_was_running_is_none(tmp_path: Path) -> None:
    running = event("play", "u", "a", at(0, 10.5), watched=int(1 * 3600e3))
    assert labels(tmp_path, SHOWN, running) == [0]


def test_a_choice_after_a_play_that_was_running_is_a_success(tmp_path: Path) -> None:
    running = event("play", "u", "a", at(0, 10.5), watched=int(1 * 3600e3))
    again = event("play", "u", "a", at(0, 11.5), watched=int(0.5 * 3600e3))
    assert labels(tmp_path, SHOWN, running, again) == [1]


def test_a_choice_logged_after_the_last_day_asked_for_is_none(tmp_path: Path) -> None:
    late = event("impression", "u", "a", at(0, 23.5))
    over_midnight = event("play", "u", "a", at(1, 0.5), watched=int(0.9 * 3600e3))

    first = exposures(tmp_path / "a", [late, over_midnight], days=[0]).rows
    both = exposures(tmp_path / "b", [late, over_midnight], days=[0, 1]).rows

    assert (first["label"].to_list(), both["label"].to_list()) == ([0], [1])


def test_a_choice_at_the_same_instant_is_a_success(tmp_path: Path) -> None:
    assert labels(tmp_path, SHOWN, event("play", "u", "a", at(0, 10))) == [1]


@pytest.mark.parametrize(
    "other",
    [
        event("play", "v", "a", at(0, 11)),
        event("play", "u", "b", at(0, 11)),
        event("thumb_down", "u", "a", at(0, 11)),
    ],
    ids=["another user", "another item", "another action"],
)
def test_what_is_no_choice_of_the_shown_item_is_none(tmp_path: Path, other: dict) -> None:
    assert labels(tmp_path, SHOWN, other) == [0]


def test_counts_are_of_the_days_before(tmp_path: Path) -> None:
    played = [
        event("play", "u", "a", at(0, 1)),
        event("play", "u", "b", at(0, 2)),
        event("play", "v", "a", at(1, 3)),
        event("play", "w", "a", at(1, 4)),
        event("play", "u", "a", at(2, 1)),  # the exposure's own day, though before it
    ]
    shown = event("impression", "u", "a", at(2, 10))

    row = exposures(tmp_path, [*played, shown], days=[2]).rows.row(0, named=True)

    counted = {name: round(float(np.expm1(row[name]))) for name in COUNTS}
    assert counted == {
        "item_choices": 3,
        "item_choices_the_day_before": 2,
        "user_choices": 2,
        "pair_choices": 1,
    }


def test_later_events_change_nothing_about_an_exposure(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    events = [
        event(
            str(draw.choice(["impression", "play"])),
            f"u{draw.integers(4)}",
            f"i{draw.integers(4)}",
            at(day, float(draw.uniform(0, 20))),
        )
        for day in (0, 1, 2)
        for _ in range(60)
    ]
    later = [event("play", "u1", f"i{one}", at(2, 23.5)) for one in range(4)]

    before = exposures(tmp_path / "a", events, days=[0, 1]).rows
    after = exposures(tmp_path / "b", [*events, *later], days=[0, 1]).rows

    assert before.equals(after)


def test_a_page_ends_with_a_pause_or_another_user(tmp_path: Path) -> None:
    shown = [
        event("impression", "u", "a", at(0, 10)),
        event("impression", "u", "b", at(0, 10.4)),
        event("impression", "v", "a", at(0, 10.2)),
        event("impression", "u", "c", at(0, 11)),
    ]

    rows = exposures(tmp_path, shown, days=[0]).rows

    page = dict(zip(zip(rows["user_id"], rows["item_id"], strict=True), rows["page"], strict=True))
    assert page["u", "a"] == page["u", "b"] != page["u", "c"]
    assert len(set(page.values())) == 3


def test_facets_known_before_the_choice_are_the_context(tmp_path: Path) -> None:
    found = exposures(tmp_path, [SHOWN], days=[0])

    assert found.categories == ("device",)
    assert found.numbers == ("position", *COUNTS)
    assert "watched" not in found.rows.columns


def test_a_log_that_does_not_say_what_was_shown_cannot_be_ranked(tmp_path: Path) -> None:
    silent = dataclasses.replace(SCHEMA, exposure=None)
    folders = write_days(tmp_path, [SHOWN], num_days=1, schema=silent)

    with pytest.raises(NoDataError, match="does not record what was shown"):
        read_exposures(folders, days=list(folders), window=WINDOW)


def test_days_without_exposures_are_named(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match=f"nobody was shown anything on {day_name(1)}"):
        exposures(tmp_path, [SHOWN], days=[1])


def test_days_that_are_not_given_are_named(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match=f"want events of {day_name(7)}"):
        exposures(tmp_path, [SHOWN], days=[7])
