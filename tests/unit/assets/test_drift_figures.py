"""Each warning, on a day that deserves it, and on its neighbours that do not."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from assets.day_figures import Arrived, day_figures
from assets.drift_figures import drift_figures
from assets.suites import WARNING_CHECKS, Figure, Limits
from training.events.day_aggregates import OTHERS, DayAggregates
from training.schema import EventSchema

NOON = datetime(2026, 1, 3, 12, tzinfo=UTC)
HOURS = {str(hour): 1_000 for hour in range(24)}
USUAL = DayAggregates(
    rows=24_000,
    users=3_000,
    nulls={"device": 2_400, "position": 0, "genres": 0, "watch_ms": 12_000},
    numbers={},
    not_finite={},
    instants={"occurred_at": (NOON, NOON + timedelta(hours=11))},
    counts={
        "action": {"impression": 12_000, "play": 11_000, "dislike": 1_000},
        "hour": HOURS,
        "device": {"tv": 12_000, "phone": 9_600},
        "genres": {"drama": 9_000, "crime": 9_000},
    },
    spreads={"position": {"0": 12_000, "1": 12_000}, "watch_ms": {"1000": 6_000, "2048": 6_000}},
    min_delay_s=0.1,
    delay_p95_s=20.0,
)
FINE = Arrived(rows_in=24_000, quarantined=0, duplicates=0)

Warned = Callable[..., set[str]]


def is_broken(figure: Figure) -> bool:
    """Return what the engine finds: whether a figure lies outside its range."""
    if figure.value is None:
        return False
    is_low = figure.low is not None and (
        figure.value <= figure.low if figure.is_above else figure.value < figure.low
    )
    return is_low or (figure.high is not None and figure.value > figure.high)


@pytest.fixture
def warned(schema: EventSchema) -> Warned:
    def _warned(
        day: DayAggregates, *, arrived: Arrived = FINE, week: int = 7, limits: Limits | None = None
    ) -> set[str]:
        figures = [
            *day_figures(
                day, schema=schema, day="2026-01-03", arrived=arrived, limits=limits or Limits()
            ),
            *drift_figures(day, [USUAL] * week, schema=schema, limits=limits or Limits()),
        ]
        return {one.check for one in figures if is_broken(one)} & {*WARNING_CHECKS}

    return _warned


def counted(**counts: dict[str, int]) -> DayAggregates:
    """Return a usual day with other counts."""
    return replace(USUAL, counts={**USUAL.counts, **counts})


WARNED: dict[str, tuple[DayAggregates, str]] = {
    "half a day of events": (
        replace(USUAL, instants={"occurred_at": (NOON, NOON + timedelta(hours=5))}),
        "day_is_covered_to_its_end",
    ),
    "a collector that lags": (replace(USUAL, delay_p95_s=21_601.0), "events_arrive_in_time"),
    "a facet that nobody sends": (
        replace(USUAL, nulls={**USUAL.nulls, "genres": 24_000}),
        "facets_are_filled",
    ),
    "a client that stops sending a facet": (
        replace(USUAL, nulls={**USUAL.nulls, "device": 6_000}),
        "null_shares_are_usual",
    ),
    "a facet that is filled at once": (
        replace(USUAL, nulls={**USUAL.nulls, "watch_ms": 6_000}),
        "null_shares_are_usual",
    ),
    "hours of an outage": (
        counted(hour={hour: n for hour, n in HOURS.items() if int(hour) not in {9, 10, 11}}),
        "hours_are_usual",
    ),
    "an action logged twice": (
        counted(action={"impression": 12_000, "play": 22_000, "dislike": 3_000}),
        "actions_are_usual",
    ),
    "another audience": (counted(device={"tv": 4_000, "phone": 17_600}), "facets_are_usual"),
    "members of sets that change": (counted(genres={"drama": 17_000}), "facets_are_usual"),
    "another unit": (
        replace(USUAL, spreads={**USUAL.spreads, "watch_ms": {"1": 6_000, "2": 6_000}}),
        "facets_are_usual",
    ),
    "a new spelling": (
        counted(device={"tv": 12_000, "phone": 9_000, "Phone": 600}),
        "values_are_familiar",
    ),
    "no targets": (
        counted(action={"impression": 23_000, "dislike": 1_000}),
        "targets_are_present",
    ),
    "a third of the volume and less": (replace(USUAL, rows=7_000), "volume_is_usual"),
}


@pytest.mark.parametrize("name", WARNED)
def test_a_day_that_is_not_as_it_was_warns_under_the_name_of_its_check(
    warned: Warned, name: str
) -> None:
    day, check = WARNED[name]

    assert check in warned(day)


def test_a_usual_day_warns_of_nothing(warned: Warned) -> None:
    assert warned(USUAL) == set()
    assert warned(counted(device={"tv": 13_000, "phone": 8_500, "watch": 100})) == set()


@pytest.mark.parametrize("week", [0, 2])
def test_nothing_is_judged_against_fewer_than_three_days(warned: Warned, week: int) -> None:
    strange = replace(
        counted(device={"car": 21_600}, hour={"3": 24_000}),
        nulls=dict.fromkeys(USUAL.nulls, 12_000),
        rows=24_000,
    )

    assert warned(strange, week=week) == set()
    assert warned(strange, week=3) >= {"facets_are_usual", "hours_are_usual"}


def test_what_chance_does_to_few_users_is_no_news(warned: Warned) -> None:
    few = replace(USUAL, users=30, nulls={**USUAL.nulls, "device": 4_800})

    assert warned(few) == set()


def test_a_facet_of_many_values_has_no_new_ones(warned: Warned, schema: EventSchema) -> None:
    many = counted(device={"tv": 20_000, OTHERS: 1_600})
    figures = drift_figures(USUAL, [many] * 7, schema=schema, limits=Limits())

    (familiar,) = [
        one for one in figures if (one.check, one.about) == ("values_are_familiar", "device")
    ]
    assert familiar.value is None


def test_unknown_actions_are_named_the_commonest_first(schema: EventSchema) -> None:
    words = {"share": 100, "x" * 50: 200}
    figures = day_figures(
        USUAL,
        schema=schema,
        day="2026-01-03",
        arrived=replace(FINE, unknown_actions=words),
        limits=Limits(),
    )

    (unknown,) = [one for one in figures if one.check == "arriving_actions_are_known"]
    assert is_broken(unknown)
    assert unknown.note == f"{'x' * 40}…: 200 rows, share: 100 rows"


def test_a_change_of_the_files_columns_warns(warned: Warned) -> None:
    changed = replace(FINE, source_changes=["a.parquet: new column 'mood' (string)"])

    assert warned(USUAL, arrived=changed) == {"source_columns_are_unchanged"}


def test_stated_shares_of_nulls_are_limits(warned: Warned) -> None:
    assert warned(USUAL, limits=Limits(nulls={"device": 0.05})) == {"facets_are_filled"}
    assert warned(USUAL, limits=Limits(nulls={"device": 0.1})) == set()
