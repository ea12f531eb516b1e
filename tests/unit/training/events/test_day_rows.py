from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.unit.training.events.listening import mapping
from training.events import day_rows
from training.events.log_files import LogFile
from training.events.mapping_file import mapping_from
from training.events.own_log import OwnLog

FIRST = date(2026, 1, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(12)]
EMPTY = DAYS[5]


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    """A CSV in no order, two rows on each day but one."""
    rows = [
        {
            "user": f"u{n % 5}",
            "track": f"t{n}",
            "played_at": int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) + n,
        }
        for n, day in enumerate([*reversed(DAYS), *DAYS])
        if day != EMPTY
    ]
    pl.DataFrame(rows).write_csv(tmp_path / "plays.csv")
    return mapping(
        tmp_path,
        events__files=[str(tmp_path / "plays.csv")],
        events__format="csv",
        events__occurred_at={"column": "played_at", "unit": "s"},
        actions=[{"name": "play", "role": "target"}],
        facets=[],
        world={"first_day": FIRST.isoformat(), "last_day": DAYS[-1].isoformat()},
    )


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passes over files, by the name of the file."""
    seen: list[str] = []
    frames = LogFile.frames

    def counted(file: LogFile, *arguments: Any, **options: Any) -> Iterator[pl.DataFrame]:
        seen.append(file.path.name)
        return frames(file, *arguments, **options)

    monkeypatch.setattr(LogFile, "frames", counted)
    return seen


def rows_of(source: OwnLog, day: date) -> list[dict[str, Any]]:
    end = datetime(2027, 1, 1, tzinfo=UTC)
    return [row for _, rows in source.located(day, received_before=end) for row in rows.to_dicts()]


def without_numbers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != day_rows.ROW} for row in rows]


def test_days_in_turn_come_as_each_alone_in_few_passes(
    document: dict[str, Any], passes: list[str]
) -> None:
    alone = [rows_of(OwnLog(mapping_from(document)), day) for day in DAYS]
    assert len(passes) == len(DAYS)
    passes.clear()

    source = OwnLog(mapping_from(document))
    in_turn = [rows_of(source, day) for day in DAYS]

    assert list(map(without_numbers, in_turn)) == list(map(without_numbers, alone))
    assert [len(rows) for rows in in_turn] == [0 if day == EMPTY else 2 for day in DAYS]
    assert len(passes) == 3, "the first day, the column of times, and the days after the first"


def test_only_so_many_rows_are_held(
    document: dict[str, Any], passes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day_rows, "AHEAD_ROWS", 4)
    source = OwnLog(mapping_from(document))

    in_turn = [rows_of(source, day) for day in DAYS]

    assert [len(rows) for rows in in_turn] == [0 if day == EMPTY else 2 for day in DAYS]
    assert len(passes) == 2 + 5, "two days at a time, and three where one of them is empty"


def test_a_day_with_more_rows_than_are_held_ahead_comes_alone(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day_rows, "AHEAD_ROWS", 1)
    source = OwnLog(mapping_from(document))

    assert [len(rows_of(source, day)) for day in DAYS[:3]] == [2, 2, 2]
