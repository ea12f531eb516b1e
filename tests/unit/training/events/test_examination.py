from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.unit.training.events.listening import DAY_MS, PLAYS, START_MS, mapping, plays
from training.events.examination import Examination, examine, position, untimed
from training.events.mapping_file import mapping_from
from training.events.own_log import OwnLog

LATENESS = timedelta(hours=6)


def examined(folder: Path, rows: list[dict[str, Any]], **changes: Any) -> tuple[OwnLog, Any]:
    plays(rows).write_parquet(folder / "plays.parquet")
    source = OwnLog(mapping_from(mapping(folder, **changes)))
    return source, examine(source, lateness=LATENESS)


def test_what_would_be_taken_is_counted(tmp_path: Path) -> None:
    _, found = examined(tmp_path, PLAYS)

    assert isinstance(found, Examination)
    assert [(one.day, one.valid) for one in found.days] == [
        (date(2026, 1, 30), 5),
        (date(2026, 1, 31), 3),
    ]
    assert (found.valid, found.users, found.items, found.catalogue_items) == (8, 2, 3, 3)
    assert found.by_action == {"play": 4, "finished": 2, "skipped": 2}
    assert found.filled == {"device": 8, "ms_played": 4, "moods": 3}
    assert found.refused == {}


def test_what_would_be_refused_is_found_again_in_its_file(tmp_path: Path) -> None:
    broken = [
        {**PLAYS[2], "ms_played": -5},
        {**PLAYS[2], "user": None},
        {**PLAYS[2], "user": None, "track": "b"},
        {**PLAYS[2], "played_at": None},
    ]
    source, found = examined(tmp_path, [*PLAYS, PLAYS[0], *broken])

    first = {rule: position(source, one) for rule, one in found.refused.items()}

    assert {rule: one.count for rule, one in found.refused.items()} == {
        "user_id is filled": 2,
        "ms_played is not negative": 1,
    }
    assert first["ms_played is not negative"] == "plays.parquet row 6"
    assert first["user_id is filled"] in {"plays.parquet row 7", "plays.parquet row 8"}
    assert found.days[0].repeats == 2
    assert [(one.num_untimed, one.first_untimed) for one in untimed(source)] == [(1, 9)]


def test_days_without_events_and_rows_outside_are_told(tmp_path: Path) -> None:
    later = {**PLAYS[0], "played_at": START_MS + 4 * DAY_MS}
    world = {"first_day": "2026-01-31", "last_day": "2026-02-03"}
    _, found = examined(tmp_path, [*PLAYS, later], world=world)

    assert found.empty_days == [date(2026, 2, 1), date(2026, 2, 2)]
    assert found.outside == 3


def test_what_arrives_too_late_is_told(tmp_path: Path) -> None:
    plays().write_parquet(tmp_path / "plays.parquet")
    late = pl.from_epoch("played_at", time_unit="ms").dt.replace_time_zone("UTC")
    rows = plays().with_columns(got=late.dt.offset_by("2d"))
    rows.write_parquet(tmp_path / "plays.parquet")
    received = {"column": "got", "unit": "timestamp"}
    source = OwnLog(mapping_from(mapping(tmp_path, events__received_at=received)))

    found = examine(source, lateness=LATENESS)

    assert (found.too_late, found.valid) == (8, 0)
    assert len(found.empty_days) == 2


@pytest.mark.parametrize("event_id", [None, "id"])
def test_a_refused_event_with_an_id_of_its_own_is_found_too(
    tmp_path: Path, event_id: str | None
) -> None:
    rows = [*PLAYS, {**PLAYS[2], "ms_played": -5}]
    plays(rows).with_columns(id=pl.Series(list("abcde"))).write_parquet(tmp_path / "plays.parquet")
    changes = {"events__event_id": event_id} if event_id else {}
    source = OwnLog(mapping_from(mapping(tmp_path, **changes)))

    found = examine(source, lateness=LATENESS)

    assert position(source, found.refused["ms_played is not negative"]) == "plays.parquet row 5"
