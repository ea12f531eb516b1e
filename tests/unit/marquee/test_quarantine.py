"""The quarantine of one's own log, shown and released once the catalogue is mended."""

from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from assets.backfill import ASSETS, build_day
from assets.watermark import wall_clock
from assets.workspace import Workspace, WorkspaceConfig
from lake.hashing import keyed_hash
from marquee.errors import CommandError
from marquee.quarantine import _spans, release_days, show_quarantine
from tests.unit.training.events.listening import mapping
from training.events.artifacts import read_events

DAYS = ["2026-01-01", "2026-01-02", "2026-01-03"]
MISSING = "item is in the catalogue"
NEGATIVE = "ms_played is not negative"


def rows(day: str) -> pl.DataFrame:
    """Return plays: three of a title that the catalogue lacks, and one of negative length."""
    at = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(hours=12)
    tracks = ["a"] * 96 + ["new"] * 3 + ["a"]
    return pl.DataFrame(
        {
            "id": [f"{day}-{n}" for n in range(100)],
            "user": [f"user-{n % 7}" for n in range(100)],
            "track": tracks,
            "played_at": [at + timedelta(seconds=n) for n in range(100)],
            "finished": True,
            "ms_played": [*([200_000] * 99), -1],
            "device": "speaker",
            "tags": None,
        },
        schema_overrides={"tags": pl.String},
    )


def describe(folder: Path, *tracks: str) -> None:
    pl.DataFrame({"id": tracks}).write_parquet(folder / "tracks.parquet")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    (tmp_path / "logs").mkdir()
    for day in DAYS:
        rows(day).write_parquet(tmp_path / "logs" / f"{day}.parquet")
    describe(tmp_path, "a")
    document = mapping(
        tmp_path,
        events__files=[str(tmp_path / "logs")],
        events__event_id="id",
        events__occurred_at={"column": "played_at", "unit": "timestamp"},
        actions=[{"name": "play", "role": "target"}],
        catalogue={
            "files": [str(tmp_path / "tracks.parquet")],
            "format": "parquet",
            "item_id": "id",
            "kind": "track",
        },
        world={"first_day": DAYS[0], "last_day": DAYS[-1]},
    )
    config = WorkspaceConfig(
        source="parquet",
        source_parameters={"mapping": document},
        first_day=date.fromisoformat(DAYS[0]),
        last_day=date.fromisoformat(DAYS[-1]),
        recipe="tiny",
    )
    workspace = Workspace.create(tmp_path / "own", config)
    for name in ("MARQUEE_WORKSPACE", "DAGSTER_HOME"):
        monkeypatch.setenv(name, str(workspace.root))  # set by a run, undone by the test
    for day in DAYS:
        list(build_day(workspace, day, now=wall_clock()))
    return workspace


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=150)


def printed(console: Console) -> list[str]:
    assert isinstance(console.file, StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def digests(workspace: Workspace) -> dict[tuple[str, str], str]:
    return {key: workspace.lake.require(*key).digest for key in workspace.lake.built()}


def test_rules_are_counted_by_day_with_samples_that_name_no_user(
    world: Workspace, console: Console
) -> None:
    show_quarantine(world, DAYS[:1], console)

    shown = printed(console)
    assert f"{DAYS[0]} {NEGATIVE} 1 {DAYS[0]}-99, {keyed_hash('user-1')}" in shown
    (missing,) = [line for line in shown if MISSING in line]
    assert missing.startswith(f"{DAYS[0]} {MISSING} 3 {DAYS[0]}-9")
    assert sum(f"{DAYS[0]}-9" in line for line in shown) == 4
    assert not any("user-" in line or DAYS[1] in line for line in shown)


def test_a_title_that_was_missing_releases_its_rows_and_nothing_else(
    world: Workspace, tmp_path: Path, console: Console
) -> None:
    before = digests(world)
    describe(tmp_path, "a", "new")

    release_days(world, DAYS[:2], console)

    shown = printed(console)
    assert f"{MISSING} 6 6 0 0" in shown
    assert f"{NEGATIVE} 2 0 2 0 {NEGATIVE}: 2" in shown
    changed = {key for key, digest in digests(world).items() if before[key] != digest}
    # rows of the vocabulary are history: the title gets one, and is counted, on the next day
    made_of_events = {*ASSETS} - {"raw_events", "vocabulary", "item_statistics"}
    assert changed == {(name, day) for name in made_of_events for day in DAYS[:2]}
    _, valid = read_events(world.lake.path(world.lake.require("valid_events", DAYS[0])))
    assert valid.num_rows == 99
    assert valid["item_id"].to_pylist().count("new") == 3

    again = Console(file=StringIO(), width=150)
    release_days(world, DAYS[:2], again)

    assert [line for line in printed(again) if NEGATIVE in line] == [
        f"{NEGATIVE} 2 0 2 0 {NEGATIVE}: 2"
    ]
    assert {key for key, digest in digests(world).items() if before[key] != digest} == changed


def test_rows_of_one_id_are_followed_each_on_its_own(
    world: Workspace, tmp_path: Path, console: Console
) -> None:
    """A row of a missing title, one of negative length and a third that is gone share an id."""
    log = tmp_path / "logs" / f"{DAYS[0]}.parquet"
    plays = rows(DAYS[0])
    shared = plays.with_columns(
        id=pl.when(pl.col("track") == "new").then(pl.lit("shared")).otherwise(pl.col("id")),
        ms_played=pl.when(pl.col("id") == f"{DAYS[0]}-97").then(-5).otherwise("ms_played"),
    )
    shared.write_parquet(log)
    list(build_day(Workspace.open(world.root), DAYS[0], now=wall_clock()))
    shared.filter(pl.col("played_at") != plays["played_at"][98]).write_parquet(log)
    describe(tmp_path, "a", "new")

    release_days(Workspace.open(world.root), DAYS[:1], console)

    # all three were of a title that was missing: one is valid, one breaks a later rule, one is gone
    assert f"{MISSING} 3 1 1 1 {NEGATIVE}: 1" in printed(console)


def test_days_from_before_there_were_buckets_are_shown_and_released(
    world: Workspace, tmp_path: Path, console: Console
) -> None:
    folder = world.lake.path(world.lake.require("quarantined_events", DAYS[0]))
    _, refused = read_events(folder)
    for part in folder.glob("events-*.parquet"):
        part.unlink()
    pq.write_table(refused, folder / "events.parquet")
    show_quarantine(world, DAYS[:1], console)
    describe(tmp_path, "a", "new")

    release_days(world, DAYS[:1], console)

    shown = printed(console)
    assert f"{DAYS[0]} {NEGATIVE} 1 {DAYS[0]}-99, {keyed_hash('user-1')}" in shown
    assert f"{MISSING} 3 3 0 0" in shown


def test_days_that_were_never_taken_in_are_refused(world: Workspace, console: Console) -> None:
    with pytest.raises(CommandError, match="are 2026-01-01 to 2026-01-03; got '2026-01-09'"):
        show_quarantine(world, ["2026-01-09"], console)


def test_consecutive_days_are_taken_in_by_one_run() -> None:
    days = ["2026-01-30", "2026-01-31", "2026-02-01", "2026-02-03"]
    assert list(_spans(days)) == [(days[0], days[2]), (days[3], days[3])]
