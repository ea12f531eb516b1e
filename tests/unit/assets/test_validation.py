import json
import logging
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from assets import engine
from assets.day_figures import Arrived
from assets.suites import BLOCKING_CHECKS, WARNING_CHECKS, Limits
from assets.validation import DayValidation, render_data_docs, validate_day
from training.events.day_aggregates import DayAggregates, aggregates_of
from training.schema import EventSchema

Judge = Callable[..., DayValidation]
Break = Callable[[pa.Table], pa.Table]


def test_the_engine_keeps_its_notes_to_itself(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    engine._context.cache_clear()
    engine._batches.cache_clear()
    engine._context()
    said = [one.message for one in caplog.records if "temporary directory" in one.message]
    assert said == []


def put(name: str, row: int, value: Any) -> Break:
    """Return a change of one cell."""

    def change(events: pa.Table) -> pa.Table:
        index = events.column_names.index(name)
        cells = events[name].to_pylist()
        cells[row] = value
        return events.set_column(index, name, pa.array(cells, events.schema.field(name).type))

    return change


def a_day_later(events: pa.Table) -> pa.Table:
    for index, name in ((4, "occurred_at"), (5, "received_at")):
        moved = pc.add(events[name], pa.scalar(timedelta(days=1)))
        events = events.set_column(index, name, moved)
    return events


def before_it_occurred(events: pa.Table) -> pa.Table:
    early = pc.subtract(events["occurred_at"], pa.scalar(timedelta(minutes=6)))
    return events.set_column(5, "received_at", early)


def as_words(events: pa.Table) -> pa.Table:
    return events.set_column(7, "position", events["position"].cast(pa.string()))


ROW_DEFECTS: dict[str, tuple[str, Break]] = {
    "a null item": ("fixed_columns_are_not_null", put("item_id", 3, None)),
    "a null instant": ("fixed_columns_are_not_null", put("received_at", 3, None)),
    "a repeated event": ("event_ids_are_unique", put("event_id", 3, "e4")),
    "an unknown action": ("actions_are_known", put("action", 3, "sneeze")),
    "another day": ("events_occurred_within_the_day", a_day_later),
    "an arrival before the event": ("events_arrived_after_they_occurred", before_it_occurred),
    "a negative duration": ("durations_are_plausible", put("watch_ms", 3, -1)),
    "a duration of a day and more": ("durations_are_plausible", put("watch_ms", 3, 86_400_001)),
    "an infinite number": ("numbers_are_plausible", put("position", 3, float("inf"))),
    "no number": ("numbers_are_plausible", put("position", 3, float("nan"))),
    "a huge number": ("numbers_are_plausible", put("position", 3, -2e9)),
    "a missing column": ("columns_match_the_schema", lambda events: events.drop(["device"])),
    "columns in another order": (
        "columns_match_the_schema",
        lambda events: events.select(events.column_names[::-1]),
    ),
    "no rows": ("day_has_rows", lambda events: events.slice(0, 0)),
}


def lazy(events: pa.Table) -> pl.LazyFrame:
    frame = pl.from_arrow(events)
    assert isinstance(frame, pl.DataFrame)
    return frame.lazy()


@pytest.fixture(scope="module")
def week(schema: EventSchema, make_events: Callable[..., pa.Table]) -> list[DayAggregates]:
    """Return the days before one that ``make_events`` makes."""
    usual = lazy(make_events())
    return [aggregates_of(usual, schema, usual.collect())] * 7


@pytest.fixture(scope="module")
def judge(schema: EventSchema, day: date, week: list[DayAggregates]) -> Judge:
    def _judge(events: pa.Table, **changes: Any) -> DayValidation:
        given = {"quarantined": 0, "duplicates": 0, **changes}
        counts = {name: given.pop(name) for name in ("quarantined", "duplicates")}
        said = {
            name: given.pop(name) for name in ("unknown_actions", "source_changes") if name in given
        }
        rows_in = given.pop("rows_in", events.num_rows + sum(counts.values()))
        arrived = Arrived(rows_in=rows_in, **counts, **said)
        return validate_day(
            lazy(events), schema=schema, arrived=arrived, **{"day": day, "week": week, **given}
        )

    return _judge


def test_a_clean_day_passes_every_check(judge: Judge, events: pa.Table) -> None:
    verdict = judge(events)

    assert (verdict.is_blocked, verdict.failed, verdict.warned) == (False, (), ())
    assert all(verdict.of(check) for check in (*BLOCKING_CHECKS, *WARNING_CHECKS))


@pytest.mark.parametrize("defect", ROW_DEFECTS)
def test_a_defect_blocks_the_day_under_the_name_of_its_check(
    judge: Judge, events: pa.Table, defect: str
) -> None:
    check, broken = ROW_DEFECTS[defect]

    verdict = judge(broken(events))

    assert verdict.is_blocked
    assert verdict.failed == (check,)


def test_midnight_belongs_to_the_next_day(judge: Judge, events: pa.Table, day: date) -> None:
    first = pc.cast(pa.scalar(day), pa.timestamp("us", "UTC")).as_py()

    assert not judge(put("occurred_at", 0, first)(events)).is_blocked
    assert judge(put("occurred_at", 0, first + timedelta(days=1))(events)).is_blocked


def test_the_extremes_are_observed(judge: Judge, events: pa.Table) -> None:
    broken = put("watch_ms", 0, -1)(put("watch_ms", 3, -5)(events))

    (duration,) = judge(broken).of("durations_are_plausible")

    assert (duration.column, duration.is_passed) == ("watch_ms", False)
    assert duration.observed == "-5 to 198,000"


def test_an_unknown_action_is_named_with_its_rows(judge: Judge, events: pa.Table) -> None:
    (found,) = judge(put("action", 3, "sneeze")(events)).of("actions_are_known")

    assert (found.column, found.observed) == ("action", "sneeze (1 rows)")


def test_a_column_of_another_type_is_named_with_both(judge: Judge, events: pa.Table) -> None:
    verdict = judge(as_words(events))

    assert set(verdict.failed) == {"columns_match_the_schema", "numbers_are_plausible"}
    notes = [one.note for one in verdict.of("columns_match_the_schema") if one.note]
    assert notes == ["position: want Float64, got String"]


def test_a_missing_column_is_named(judge: Judge, events: pa.Table) -> None:
    verdict = judge(events.drop(["watch_ms"]).append_column("mood", pa.nulls(events.num_rows)))

    _, columns = verdict.of("columns_match_the_schema")
    assert columns.observed == "missing: watch_ms; unexpected: mood"
    assert "missing" in str(verdict.of("durations_are_plausible")[0].observed)


def test_a_warning_alone_never_blocks(judge: Judge, make_events: Callable[..., pa.Table]) -> None:
    verdict = judge(make_events(rows=50))

    assert not verdict.is_blocked
    assert "volume_is_usual" in verdict.warned


@pytest.mark.parametrize(
    ("trailing", "is_warned"),
    [([], False), ([9000, 9000], False), ([9000] * 3, True), ([190, 210, 9000], False)],
)
def test_volume_is_judged_against_the_median_of_at_least_three_days(
    judge: Judge, events: pa.Table, week: list[DayAggregates], trailing: list[int], is_warned: bool
) -> None:
    verdict = judge(events, week=[replace(week[0], rows=rows) for rows in trailing])

    assert ("volume_is_usual" in verdict.warned) is is_warned


def test_a_day_without_targets_warns(judge: Judge, events: pa.Table) -> None:
    shown = pa.array(["impression"] * events.num_rows)

    assert "targets_are_present" in judge(events.set_column(3, "action", shown)).warned


@pytest.mark.parametrize(("quarantined", "is_blocked"), [(10, False), (11, True)])
def test_more_than_a_twentieth_in_quarantine_blocks(
    judge: Judge, events: pa.Table, quarantined: int, is_blocked: bool
) -> None:
    verdict = judge(events.slice(0, 200 - quarantined), quarantined=quarantined)

    assert ("quarantine_ratio_is_low" in verdict.failed) is is_blocked


def test_duplicates_do_not_dilute_the_quarantine_ratio(judge: Judge, events: pa.Table) -> None:
    verdict = judge(events.slice(0, 180), quarantined=20, duplicates=5000)

    assert verdict.failed == ("quarantine_ratio_is_low",)


def test_a_lost_row_blocks(judge: Judge, events: pa.Table) -> None:
    assert judge(events, rows_in=201).failed == ("every_row_is_accounted_for",)


def test_limits_are_parameters(judge: Judge, events: pa.Table) -> None:
    strict = Limits(numbers={"position": (0.0, 5.0)}, duration_ms=60_000)

    assert judge(events, limits=strict).failed == (
        "durations_are_plausible",
        "numbers_are_plausible",
    )


def test_one_context_judges_each_table_by_its_own_rows(judge: Judge, events: pa.Table) -> None:
    broken = put("action", 3, "sneeze")(events)

    assert [judge(table).is_blocked for table in (events, broken, events)] == [False, True, False]


def test_the_json_form_is_a_function_of_the_data(
    judge: Judge, make_events: Callable[..., pa.Table]
) -> None:
    once, again = (json.dumps(judge(make_events()).to_json()) for _ in range(2))

    assert once == again
    value = json.loads(once)
    assert (value["day"], value["rows"], value["is_blocked"]) == ("2026-01-03", 200, False)
    assert {one["name"] for one in value["expectations"]} == {*BLOCKING_CHECKS, *WARNING_CHECKS}


def test_no_id_of_a_user_leaves_with_the_verdict_or_its_pages(
    judge: Judge, events: pa.Table, tmp_path: Path
) -> None:
    secret = put("user_id", 3, "alice@example.org")(put("event_id", 3, "e4")(events))

    repeated = put("event_id", 5, "of-alice")(put("event_id", 6, "of-alice")(secret))
    verdict = judge(put("action", 3, "sneeze")(repeated))
    pages = render_data_docs(verdict, tmp_path)

    told = [json.dumps(verdict.to_json()), *(page.read_text() for page in pages)]
    assert "event_ids_are_unique" in verdict.failed
    assert not any("alice" in one for one in told)


def test_a_verdict_cannot_be_edited(judge: Judge, events: pa.Table) -> None:
    with pytest.raises(FrozenInstanceError):
        judge(events).schema = "x"  # type: ignore[misc]


def test_data_docs_are_an_overview_and_a_page_per_suite(
    judge: Judge, events: pa.Table, tmp_path: Path
) -> None:
    verdict = judge(put("action", 3, "sneeze")(events))

    pages = render_data_docs(verdict, tmp_path / "docs")

    suites = ["films_day", "films_drift", "films_values", "films_sample"]
    assert [page.stem for page in pages] == ["checks", *suites]
    assert "sneeze" in pages[suites.index("films_values") + 1].read_text()
    overview = pages[0].read_text()
    assert "blocked by actions_are_known" in overview
    assert all(f'href="{name}.html"' in overview for name in suites)
    assert all(check in overview for check in (*BLOCKING_CHECKS, *WARNING_CHECKS))


def test_no_figure_breaks_the_engines_pages(
    judge: Judge, events: pa.Table, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pages = render_data_docs(judge(events), tmp_path)

    assert "exception" not in caplog.text.lower()
    drift = next(page for page in pages if page.stem == "films_drift").read_text()
    assert "stability index of device" in drift
    assert "maximum value must be" in drift
