"""A day without events is taken in where the mapping says that there are such days."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.backfill import ingestion_of_days
from assets.events import catalogue, quarantined_events, raw_events, valid_events
from assets.io_manager import RefIOManager
from assets.tokens import interaction_tokens, vocabulary
from assets.watermark import wall_clock
from assets.workspace import Workspace
from lake.days import end_of, start_of
from marquee.worlds import mapped
from training.errors import NoDataError
from training.events.mapping_file import mapping_from
from training.tokens.histories import read_histories

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = [(FIRST + timedelta(days=n)).date().isoformat() for n in range(6)]
EMPTY = DAYS[4]


def opened(folder: Path, *, stragglers: tuple[int, ...] = (), **world: Any) -> Workspace:
    """Return a world; ``stragglers`` are so many hours late, and all that the empty day has."""
    rows = [
        {"user": f"u{n}", "item": f"i{n}", "at": FIRST + timedelta(days=day, hours=n)}
        for day in range(6)
        for n in range(4)
        if DAYS[day] != EMPTY
    ]
    rows = [{**row, "got": row["at"]} for row in rows]
    noon = start_of(EMPTY) + timedelta(hours=12)
    rows += [
        {"user": "u0", "item": "i0", "at": noon, "got": end_of(EMPTY) + timedelta(hours=late)}
        for late in stragglers
    ]
    pl.DataFrame(rows).write_parquet(folder / "log.parquet")
    document = {
        "format_version": 1,
        "name": "sparse",
        "events": {
            "files": [str(folder / "log.parquet")],
            "format": "parquet",
            "user_id": "user",
            "item_id": "item",
            "occurred_at": {"column": "at", "unit": "timestamp"},
            "received_at": {"column": "got", "unit": "timestamp"},
        },
        "actions": [{"name": "play", "role": "target"}],
        "catalogue": {"kind": "track"},
        "world": {"recipe": "tiny", **world},
    }
    return Workspace.create(folder / "world", mapped(mapping_from(document)))


def take_in(workspace: Workspace) -> dg.ExecuteInProcessResult:
    days = {"first_day": DAYS[0], "last_day": DAYS[-1]}
    return ingestion_of_days.execute_in_process(
        run_config={"ops": {"take_in": {"config": days}}},
        resources={"workspace": workspace, "clock": wall_clock},
        raise_on_error=False,
    )


def test_a_sparse_logs_empty_day_is_taken_in_and_looks_unusual(tmp_path: Path) -> None:
    workspace = opened(tmp_path, empty_days=True)

    result = take_in(workspace)

    assert result.success
    rows = {ref.partition: ref.rows for ref in workspace.lake.refs("interaction_tokens")}
    assert rows == {day: 0 if day == EMPTY else 4 for day in DAYS}
    evaluations = {one.check_name: one for one in result.get_asset_check_evaluations()}
    assert evaluations["day_has_rows"].passed
    assert not evaluations["volume_is_usual"].passed
    assert str(evaluations["volume_is_usual"].description).startswith(f"{EMPTY}: ")
    folders = workspace.paths(workspace.lake.refs("interaction_tokens"))
    end = datetime(2026, 1, 7, tzinfo=UTC)
    histories = read_histories(folders, prefix_folder=None, as_of=end)
    assert len(histories.item_code) == 20


def test_an_empty_day_can_run_alone(tmp_path: Path) -> None:
    workspace = opened(tmp_path, empty_days=True)
    assert take_in(workspace).success

    alone = dg.materialize(
        [catalogue, vocabulary, raw_events, quarantined_events, valid_events, interaction_tokens],
        partition_key=EMPTY,
        resources={
            "workspace": workspace,
            "clock": wall_clock,
            "io_manager": RefIOManager(workspace),
        },
    )

    assert alone.success


@pytest.mark.parametrize("hours", [7, 100])
def test_an_empty_day_stays_one_until_its_late_events_are_taken_in(
    tmp_path: Path, hours: int
) -> None:
    workspace = opened(tmp_path, stragglers=(hours,), empty_days=True)

    result = take_in(workspace)

    assert result.success
    raw = workspace.lake.require("raw_events", EMPTY)
    assert raw.rows == 0
    assert (raw.figures["late"], raw.figures["too_late"]) == (1, int(hours > 72))


def test_a_day_of_which_only_late_events_came_stops_any_other_log(tmp_path: Path) -> None:
    result = take_in(opened(tmp_path, stragglers=(7,)))

    assert not result.success


def test_a_day_without_events_stops_any_other_log(tmp_path: Path) -> None:
    result = take_in(opened(tmp_path))

    assert not result.success
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    failure = failed.step_failure_data.user_failure_data
    assert failure is not None
    assert str(failure.description).startswith(f"{EMPTY}: parquet: no events on {EMPTY}")
    assert "`empty_days = true`" in str(failure.description)


@pytest.mark.parametrize("day", [date(2025, 12, 31), date(2026, 1, 7)])
def test_a_day_outside_of_the_log_is_none_of_its_empty_days(tmp_path: Path, day: date) -> None:
    source = opened(tmp_path, empty_days=True).source
    with pytest.raises(NoDataError, match="the log lasts from 2026-01-01 to 2026-01-06"):
        source.read_day(day, received_before=datetime(2027, 1, 1, tzinfo=UTC))
