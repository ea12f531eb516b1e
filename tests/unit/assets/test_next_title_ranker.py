import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from assets.next_title_ranker import RankerConfig, RankerReport, train_ranker
from feature_repo.lookup import Features, open_features
from feature_repo.projection import reconcile
from tests.unit.assets.shown_events import at, day_name, event, write_days
from tests.unit.feature_repo.small_world import Content, SmallWorld
from training.errors import NoDataError

DIM, NUM_USERS, NUM_ITEMS, DAYS = 8, 60, 30, 5
CONFIG = RankerConfig(num_draws=100)


def content(seed: int) -> Content:
    draw = np.random.default_rng(seed)
    users = {f"u{one:02}": draw.normal(size=DIM).astype(np.float32) for one in range(NUM_USERS)}
    items = {f"i{one:02}": draw.normal(size=DIM).astype(np.float32) for one in range(NUM_ITEMS)}
    return Content(users, items, np.ones(DIM, dtype=np.float32))


def shown_and_chosen(taste: Callable[[int], Content]) -> list[dict]:
    """Pages of six items, of which a user chooses those that fit the day's taste."""
    draw = np.random.default_rng(1)
    events = []
    for day in range(DAYS):
        tastes = taste(day)
        for user, vector in tastes.users.items():
            hour = float(draw.uniform(6, 20))
            for position, item in enumerate(draw.choice(sorted(tastes.items), 6, replace=False)):
                when = at(day, hour + position / 3600)
                events.append(event("impression", user, str(item), when, position=float(position)))
                fit = float(vector @ tastes.items[str(item)])
                if draw.random() < 1 / (1 + np.exp(1.5 - fit)):
                    events.append(event("play", user, str(item), at(day, hour + 0.2)))
    return events


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], Features]:
    """Vectors that are the users' taste, served from the second day on."""
    world = SmallWorld(tmp_path_factory.mktemp("served"))
    truth = content(0)
    world.publish(1, truth)
    world.promote(1, at=at(1, 3))
    world.publish(2, truth)
    world.promote(2, at=at(2, 3))
    reconcile(world.root)
    folders = write_days(world.root / "events", shown_and_chosen(lambda _: truth), num_days=DAYS)
    return folders, open_features(world.feast)


@pytest.fixture(scope="module")
def report(served: tuple[dict[str, Path], Features]) -> RankerReport:
    return train_ranker(*served, test_day=day_name(4), config=CONFIG)


def test_a_ranker_with_the_embeddings_beats_the_one_without(report: RankerReport) -> None:
    assert report.is_better
    assert report.comparisons[0].difference > 0.1
    assert all(one.lower > 0 for one in report.comparisons)


def test_the_report_says_what_it_learned_from(report: RankerReport) -> None:
    assert report.train_days == (day_name(1), day_name(2), day_name(3))
    assert report.num_test == NUM_USERS * 6
    assert report.num_test_users == NUM_USERS
    assert report.versions == {"v2": NUM_USERS * 6}
    assert (report.users_found, report.items_found) == (1.0, 1.0)
    assert "score" in report.coefficients["with embeddings"]
    assert "score" not in report.coefficients["without embeddings"]
    assert set(report.coefficients["without embeddings"]) < set(
        report.coefficients["with embeddings"]
    )


def test_the_report_is_json_and_the_same_every_time(
    report: RankerReport, served: tuple[dict[str, Path], Features]
) -> None:
    again = train_ranker(*served, test_day=day_name(4), config=CONFIG)

    assert json.dumps(report.to_json()) == json.dumps(again.to_json())


def test_embeddings_that_say_nothing_are_not_found_to_be_better(tmp_path: Path) -> None:
    world = SmallWorld(tmp_path)
    world.publish(1, content(7))
    world.promote(1, at=at(0, 0))
    reconcile(world.root)
    folders = write_days(tmp_path / "events", shown_and_chosen(lambda _: content(0)), num_days=DAYS)

    found = train_ranker(folders, open_features(world.feast), test_day=day_name(4), config=CONFIG)

    assert not found.is_better


def test_the_ranker_learns_with_what_was_served_then(tmp_path: Path) -> None:
    """Each day's taste is another: only the vectors of that day's version explain it."""
    world = SmallWorld(tmp_path)
    for day in range(DAYS):
        world.publish(day + 1, content(day))
        world.promote(day + 1, at=at(day, 0))
    reconcile(world.root)
    folders = write_days(tmp_path / "events", shown_and_chosen(content), num_days=DAYS)

    found = train_ranker(folders, open_features(world.feast), test_day=day_name(3), config=CONFIG)

    assert found.comparisons[0].with_embeddings > 0.7
    assert found.is_better


def test_nothing_of_the_test_day_is_learned(
    report: RankerReport, served: tuple[dict[str, Path], Features], tmp_path: Path
) -> None:
    events = shown_and_chosen(lambda _: content(0))
    others = [
        event("play", one["user_id"], one["item_id"], one["occurred_at"] + timedelta(minutes=9))
        for one in events
        if one["action"] == "impression" and one["occurred_at"] >= at(4, 0)
    ][::3]
    changed = write_days(tmp_path, [*events, *others], num_days=DAYS)

    again = train_ranker(changed, served[1], test_day=day_name(4), config=CONFIG)

    assert again.num_test == report.num_test
    assert again.num_test_chosen > report.num_test_chosen
    assert again.coefficients == report.coefficients


def test_choices_of_the_test_day_label_nothing_that_is_learned_from(
    served: tuple[dict[str, Path], Features], tmp_path: Path
) -> None:
    late = [event("impression", f"u{one:02}", "i00", at(3, 23.9)) for one in range(30)]
    events = [*shown_and_chosen(lambda _: content(0)), *late]
    chosen = [event("play", one["user_id"], "i00", at(4, 0.1)) for one in late]

    without, after = (
        train_ranker(
            write_days(tmp_path / name, log, num_days=DAYS),
            served[1],
            test_day=day_name(4),
            config=CONFIG,
        )
        for name, log in (("without", events), ("after", [*events, *chosen]))
    )

    assert after.coefficients == without.coefficients


def without_places(events: list[dict], day: int, is_hidden: Callable[[dict], bool]) -> list[dict]:
    """Return the events, some of a day's exposures without their position."""
    return [
        {**one, "position": None}
        if at(day, 0) <= one["occurred_at"] < at(day + 1, 0) and is_hidden(one)
        else one
        for one in events
    ]


def test_a_missing_place_is_learned_and_held_on_the_test_day_like_the_place(
    served: tuple[dict[str, Path], Features], tmp_path: Path
) -> None:
    events = shown_and_chosen(lambda _: content(0))
    chosen = {(one["user_id"], one["item_id"]) for one in events if one["action"] == "play"}
    logged = without_places(events, 3, lambda one: (one["user_id"], one["item_id"]) in chosen)

    complete, half = (
        train_ranker(
            write_days(
                tmp_path / name,
                without_places(logged, 4, lambda one, hidden=hidden: one["item_id"] < hidden),
                num_days=DAYS,
            ),
            served[1],
            test_day=day_name(4),
            config=CONFIG,
        )
        for name, hidden in (("complete", "i00"), ("half", "i15"))
    )

    assert complete.coefficients["without embeddings"]["position is missing"] > 0
    assert half == complete


def test_a_place_that_only_the_test_day_misses_adds_no_column(
    report: RankerReport, served: tuple[dict[str, Path], Features], tmp_path: Path
) -> None:
    events = without_places(shown_and_chosen(lambda _: content(0)), 4, lambda _: True)
    folders = write_days(tmp_path, events, num_days=DAYS)

    assert train_ranker(folders, served[1], test_day=day_name(4), config=CONFIG) == report


def test_a_log_without_a_day_before_the_test_day_says_so(
    served: tuple[dict[str, Path], Features],
) -> None:
    with pytest.raises(NoDataError, match=f"want events of a day before {day_name(0)}"):
        train_ranker(*served, test_day=day_name(0), config=CONFIG)


def test_days_after_the_test_day_are_not_looked_at(
    served: tuple[dict[str, Path], Features], tmp_path: Path
) -> None:
    around_midnight = [
        event("impression", "u00", "i00", at(3, 23.5)),
        event("play", "u00", "i00", at(4, 0.5)),
    ]
    events = [*shown_and_chosen(lambda _: content(0)), *around_midnight]
    folders = write_days(tmp_path, events, num_days=DAYS)
    earlier = {day: folder for day, folder in folders.items() if day <= day_name(3)}

    first = train_ranker(folders, served[1], test_day=day_name(3), config=CONFIG)
    second = train_ranker(earlier, served[1], test_day=day_name(3), config=CONFIG)

    assert first == second


def test_exposures_from_before_anything_was_served_are_left_out_and_counted(
    served: tuple[dict[str, Path], Features],
) -> None:
    found = train_ranker(*served, test_day=day_name(2), config=CONFIG)

    assert found.num_unserved == NUM_USERS * 6
    assert found.train_days == (day_name(1),)


def test_a_ranker_without_a_day_to_learn_from_says_what_is_missing(
    served: tuple[dict[str, Path], Features],
) -> None:
    with pytest.raises(NoDataError, match=r"the days before .* got 0 exposures"):
        train_ranker(*served, test_day=day_name(1), config=CONFIG)


def test_a_large_log_is_cut_by_whole_users(
    served: tuple[dict[str, Path], Features],
) -> None:
    few = RankerConfig(num_draws=50, max_rows=NUM_USERS * 3)

    found = train_ranker(*served, test_day=day_name(4), config=few)

    assert 0 < found.num_test < NUM_USERS * 6
    assert found.num_test == found.num_test_users * 6
