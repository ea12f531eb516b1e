"""Every row of the table of outcomes in docs/own-data.md, through the source and the checks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from assets.check_results import told
from assets.checks import expectations_behind
from assets.events import (
    build_catalogue,
    build_quarantined_events,
    build_raw_events,
    build_valid_events,
)
from assets.workspace import Workspace, WorkspaceConfig
from lake.refs import ArtifactRef
from training.errors import SourceError

FIRST, NUM_DAYS, NUM_USERS = date(2026, 1, 1), 5, 400
LAST = FIRST + timedelta(days=NUM_DAYS - 1)
NOW = datetime(2027, 1, 1, tzinfo=UTC)
MAPPING: dict[str, Any] = {
    "format_version": 1,
    "name": "listening",
    "events": {
        "format": "parquet",
        "user_id": "user",
        "item_id": "track",
        "occurred_at": {"column": "played_at", "unit": "timestamp", "zone": "UTC"},
        "action": "what",
    },
    "actions": [
        {"name": "play", "role": "context"},
        {"name": "finish", "role": "target"},
    ],
    "facets": [
        {"name": "device", "kind": "categorical", "phase": "request"},
        {"name": "volume", "kind": "numeric", "phase": "request"},
        {"name": "ms_played", "kind": "duration", "phase": "outcome", "unit": "ms"},
    ],
    "catalogue": {"kind": "track"},
    "world": {"first_day": FIRST.isoformat(), "last_day": LAST.isoformat()},
}

Change = Callable[[pl.DataFrame], pl.DataFrame]


def plays(day: date) -> pl.DataFrame:
    """Return a day of the log: four rows of each user, and a column that the mapping leaves."""
    rows = 4 * NUM_USERS
    draw = np.random.default_rng(day.toordinal())
    begins = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - the mapping says the zone
    at = [begins + timedelta(seconds=86_399 * n / rows) for n in range(rows)]
    return pl.DataFrame(
        {
            "user": [n % NUM_USERS for n in range(rows)],
            "track": draw.integers(0, 50, rows),
            "played_at": pl.Series(at, dtype=pl.Datetime("ms")),
            "what": draw.choice(["play", "finish"], rows),
            "device": draw.choice(["speaker", "phone", "car"], rows),
            "volume": pl.Series(draw.integers(0, 10, rows), dtype=pl.Int32),
            "ms_played": pl.Series(draw.integers(0, 300_000, rows), dtype=pl.Int32),
            "client": ["3.1"] * rows,
        }
    )


@dataclass(frozen=True)
class World:
    """A workspace whose days but the last are taken in, and its files."""

    workspace: Workspace
    folder: Path

    def valid(self, day: date) -> ArtifactRef:
        """Take in a day; return its valid events."""
        raw = build_raw_events(self.workspace, day.isoformat(), now=NOW).ref
        titles = build_catalogue(self.workspace, day.isoformat()).ref
        build_quarantined_events(self.workspace, raw, titles)
        return build_valid_events(self.workspace, raw, titles, has_pages=False).ref

    def quarantined(self) -> Mapping[str, int]:
        """Return the rows of the last day that break a rule, by its name."""
        ref = self.workspace.lake.require("quarantined_events", LAST.isoformat())
        return {rule: n for rule, n in ref.figures["by_rule"].items() if n}


def world(root: Path) -> World:
    """Take in all days but the last."""
    folder = root / "plays"
    folder.mkdir(parents=True)
    for n in range(NUM_DAYS):
        day = FIRST + timedelta(days=n)
        plays(day).write_parquet(folder / f"{day}.parquet")
    events = {**MAPPING["events"], "files": [str(folder)]}
    config = WorkspaceConfig(
        source="parquet",
        source_parameters={"mapping": {**MAPPING, "events": events}},
        first_day=FIRST,
        last_day=LAST,
        recipe="tiny",
    )
    made = World(Workspace.create(root / "world", config), folder)
    for n in range(NUM_DAYS - 1):
        made.valid(FIRST + timedelta(days=n))
    return made


def changed(root: Path, change: Change, *, file: str = f"{LAST}.parquet") -> World:
    """Return a world whose last day comes changed, whatever was known of its files before."""
    made = world(root)
    change(plays(LAST)).write_parquet(made.folder / file)
    return World(Workspace.open(made.workspace.root), made.folder)


def check(ref: ArtifactRef, name: str) -> str:
    """Return what a check says."""
    return told(expectations_behind(ref)[name])


def warned(ref: ArtifactRef) -> list[str]:
    """Return the names of the checks that warn, of a day that is not blocked."""
    assert not ref.figures["validation"]["is_blocked"]
    names: list[str] = ref.figures["validation"]["warned"]
    return names


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> ArtifactRef:
    """The last day as it comes without a change."""
    return world(tmp_path_factory.mktemp("usual")).valid(LAST)


def test_a_day_as_ever_warns_of_nothing(usual: ArtifactRef) -> None:
    assert warned(usual) == []


ACCEPTED: dict[str, tuple[Change, str]] = {
    "a new column": (
        lambda rows: rows.with_columns(mood=pl.lit("calm")),
        "new column 'mood' (string), which is not read",
    ),
    "a column that is not read is gone": (
        lambda rows: rows.drop("client"),
        "column 'client' (string) is gone",
    ),
    "wider whole numbers": (
        lambda rows: rows.cast({"ms_played": pl.Int64}),
        "column 'ms_played' is int64, was int32",
    ),
    "whole numbers as real ones": (
        lambda rows: rows.cast({"volume": pl.Float64}),
        "column 'volume' is double, was int32",
    ),
    "ids as real numbers": (
        lambda rows: rows.cast({"user": pl.Float64}),
        "column 'user' is double, was int64",
    ),
    "numbers as text": (
        lambda rows: rows.cast({"ms_played": pl.String}),
        "column 'ms_played' is string, was int32",
    ),
    "text by dictionary": (
        lambda rows: rows.cast({"device": pl.Categorical}),
        "column 'device' is dictionary<string>, was string",
    ),
    "numbers as text by dictionary": (  # the codes of it are other numbers
        lambda rows: rows.cast({"volume": pl.String}).cast({"volume": pl.Categorical}),
        "column 'volume' is dictionary<string>, was int32",
    ),
    "times of another precision": (
        lambda rows: rows.cast({"played_at": pl.Datetime("us")}),
        "column 'played_at' is timestamp[us], was timestamp[ms]",
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_means_the_same_is_read_all_the_same_and_reported(
    tmp_path: Path, usual: ArtifactRef, name: str
) -> None:
    change, report = ACCEPTED[name]

    found = changed(tmp_path, change).valid(LAST)

    assert found.digest == usual.digest
    assert warned(found) == ["source_columns_are_unchanged"]
    assert f"{LAST}.parquet: {report}" in check(found, "source_columns_are_unchanged")


def test_one_file_of_many_with_other_columns_is_named(tmp_path: Path, usual: ArtifactRef) -> None:
    made = changed(tmp_path, lambda rows: rows[:100].with_columns(mood=1), file="zz-late.parquet")
    plays(LAST)[100:].write_parquet(made.folder / f"{LAST}.parquet")

    found = made.valid(LAST)

    assert found.digest == usual.digest
    said = check(found, "source_columns_are_unchanged")
    assert "zz-late.parquet: new column 'mood' (int32)" in said
    assert f"{LAST}.parquet" not in said


def test_a_change_that_stays_is_reported_once(tmp_path: Path) -> None:
    made = world(tmp_path)
    last_but_one = LAST - timedelta(days=1)
    for day in (last_but_one, LAST):
        plays(day).with_columns(mood=1).write_parquet(made.folder / f"{day}.parquet")
    made = World(Workspace.open(made.workspace.root), made.folder)

    first, second = made.valid(last_but_one), made.valid(LAST)

    assert warned(first) == ["source_columns_are_unchanged"]
    assert warned(second) == []


REFUSED: dict[str, tuple[Change, str]] = {
    "a column that is read is gone": (
        lambda rows: rows.drop("device"),
        "column 'device' is missing",
    ),
    "times as days": (
        lambda rows: rows.cast({"played_at": pl.Date}),
        "column 'played_at' is Date",
    ),
    "times as numbers": (
        lambda rows: rows.with_columns(pl.col("played_at").dt.epoch("ms")),
        "column 'played_at' is Int64",
    ),
    "numbers as times": (
        lambda rows: rows.with_columns(ms_played=pl.col("played_at")),
        "column 'ms_played' is Datetime",
    ),
    "one value as a list": (
        lambda rows: rows.with_columns(device=pl.concat_list("device")),
        "column 'device' is List(String)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_mean_the_same_blocks_the_day_with_both_schemas(
    tmp_path: Path, name: str
) -> None:
    change, fault = REFUSED[name]
    made = changed(tmp_path, change)

    with pytest.raises(SourceError) as caught:
        made.valid(LAST)

    said = str(caught.value)
    assert f"{LAST}.parquet: {fault}" in said
    expected, found = said.split("  found:    ")
    assert (
        "user int64, track int64, played_at timestamp[ms], what string, device string" in expected
    )
    assert f"({FIRST}.parquet)" in expected
    assert found.startswith("user int64, ")
    assert "Write the file again" in found
    assert made.workspace.lake.find("valid_events", LAST.isoformat()) is None
    assert made.workspace.lake.find("valid_events", FIRST.isoformat()) is not None


def test_values_that_cannot_be_read_are_refused_row_by_row(tmp_path: Path) -> None:
    def worded(rows: pl.DataFrame) -> pl.DataFrame:
        words = rows.with_row_index("n").with_columns(pl.col("ms_played", "volume").cast(pl.String))
        is_bad = pl.col("n") % 100
        return words.with_columns(
            ms_played=pl.when(is_bad == 0).then(pl.lit("long")).otherwise("ms_played"),
            volume=pl.when(is_bad == 1).then(pl.lit("loud")).otherwise("volume"),
        ).drop("n")

    made = changed(tmp_path, worded)

    assert warned(made.valid(LAST)) == ["source_columns_are_unchanged"]
    assert made.quarantined() == {"ms_played is not negative": 16, "volume is finite": 16}


def some(share: float, column: str, value: str) -> Change:
    """Return a change of a share of the rows."""
    every = round(1 / share)

    def change(rows: pl.DataFrame) -> pl.DataFrame:
        is_here = pl.int_range(pl.len()) % every == 0
        return rows.with_columns(
            pl.when(is_here).then(pl.lit(value)).otherwise(column).alias(column)
        )

    return change


def test_a_value_that_a_facet_never_had_is_accepted_and_reported(tmp_path: Path) -> None:
    found = changed(tmp_path, some(0.25, "device", "watch")).valid(LAST)

    assert "values_are_familiar" in warned(found)
    assert "facets_are_usual" in warned(found)
    said = check(found, "values_are_familiar")
    assert said.startswith("device: 25.00% (watch: 400), want at most")


def test_a_few_rows_with_a_new_value_are_named_without_a_warning(tmp_path: Path) -> None:
    found = changed(tmp_path, some(0.005, "device", "watch")).valid(LAST)

    assert warned(found) == []
    assert "(watch: 8)" in check(found, "values_are_familiar")


def test_an_action_that_the_mapping_does_not_know_is_quarantined_and_named(tmp_path: Path) -> None:
    made = changed(tmp_path, some(0.04, "what", "share"))

    found = made.valid(LAST)

    assert made.quarantined() == {"action is known": 64}
    assert warned(found) == ["arriving_actions_are_known"]
    assert "(share: 64 rows)" in check(found, "arriving_actions_are_known")


def test_an_unknown_action_in_more_rows_than_may_be_refused_blocks_the_day(tmp_path: Path) -> None:
    found = changed(tmp_path, some(0.1, "what", "share")).valid(LAST)

    assert found.figures["validation"]["failed"] == ["quarantine_ratio_is_low"]
    assert "(share: 160 rows)" in check(found, "arriving_actions_are_known")
