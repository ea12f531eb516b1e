"""``marquee source`` and the world that is made of a mapping."""

import json
import re
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.workspace import WorkspaceConfig
from marquee.cli import main
from marquee.demo import plan_last, stages
from marquee.errors import CommandError
from marquee.worlds import fine_tuned_days, pretraining_month, simulated, world
from tests.unit.marquee.conftest import Answer
from training.errors import SourceError
from training.events.sources import open_source

FIRST = datetime(2026, 1, 29, 12, tzinfo=UTC)


def log(days: int = 5, **columns: Any) -> pl.DataFrame:
    rows = [
        {
            "user_id": f"u{n % 3}",
            "track_id": f"t{n % 4}",
            "at": FIRST + timedelta(days=n // 8, minutes=n),
            "liked": n % 2 == 0,
            "device": "phone" if n % 3 else "speaker",
        }
        for n in range(8 * days)
    ]
    return pl.DataFrame(rows).with_columns(**columns)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["marquee", *map(str, arguments)])
        status = main()
        printed = capsys.readouterr()
        return Answer(status, " ".join(printed.out.split()), printed.err)

    return run


def decided(path: Path) -> None:
    """Make the decisions of a draft, as its reader would."""
    text = path.read_text()
    text = text.replace('name = "DECIDE"\nrole = "DECIDE"', 'name = "play"\nrole = "context"')
    text = text.replace('role = "DECIDE"', 'role = "target"')
    text = text.replace('phase = "DECIDE"', 'phase = "request"')
    path.write_text(text.replace('kind = "DECIDE"', 'kind = "track"'))


@pytest.fixture
def mapping(tmp_path: Path, run: Any) -> Path:
    log().write_parquet(tmp_path / "log.parquet")
    path = tmp_path / "mapping.toml"
    assert run("source", "init", tmp_path / "log.parquet", "--out", path).status == 0
    decided(path)
    return path


def test_from_files_to_a_world(tmp_path: Path, run: Any) -> None:
    log().write_parquet(tmp_path / "log.parquet")
    path = tmp_path / "mapping.toml"

    drafted = run("source", "init", tmp_path / "log.parquet", "--out", path, "--name", "music")
    refused = run("source", "check", path)
    decided(path)
    accepted = run("source", "check", path)
    config = world("parquet", path)

    assert "Drafted" in drafted.out
    assert "5 decisions are yours" in drafted.out
    assert 'action "liked": role = "DECIDE"' in drafted.out
    assert refused.status == 1
    assert "5 decisions are open: actions[0].name" in refused.err
    assert accepted.status == 0
    assert "40 in 1" in accepted.out
    assert "valid events 60" in accepted.out
    assert "liked action, target 20" in accepted.out
    assert "Ready: marquee demo --source parquet" in accepted.out
    assert (config.first_day, config.last_day) == (date(2026, 1, 29), date(2026, 2, 2))
    stored = WorkspaceConfig.from_json(json.loads(json.dumps(config.to_json())))
    source = open_source(stored.source, stored.source_parameters)
    assert (source.first_day, source.last_day) == (config.first_day, config.last_day)
    assert fine_tuned_days(stored) == 3


def test_a_draft_replaces_no_mapping(mapping: Path, run: Any) -> None:
    before = mapping.read_text()

    answer = run("source", "init", mapping.parent / "log.parquet", "--out", mapping)

    assert answer.status == 1
    assert "is there already" in answer.err
    assert mapping.read_text() == before


def test_what_is_refused_is_shown_with_its_row(mapping: Path, run: Any) -> None:
    users = pl.when(pl.int_range(pl.len()) > 3).then(pl.col("user_id"))
    log(user_id=users).write_parquet(mapping.parent / "log.parquet")

    answer = run("source", "check", mapping)

    assert answer.status == 1
    assert "user_id is filled 6 2026-01-29, log.parquet row 1" in answer.out
    assert "on 1 days more than 5% of the rows would be refused" in answer.out


def test_a_gap_in_the_days_is_told_with_the_part_to_take(mapping: Path, run: Any) -> None:
    gap = log().filter(pl.col("at").dt.date() != date(2026, 1, 30))
    gap.write_parquet(mapping.parent / "log.parquet")

    answer = run("source", "check", mapping)

    assert answer.status == 1
    assert "1 days have no event, the first is 2026-01-30" in answer.out
    assert "set first_day = 2026-01-31 and last_day = 2026-02-02" in answer.out


def test_a_log_that_ends_no_month_is_told(mapping: Path, run: Any) -> None:
    log(2).write_parquet(mapping.parent / "log.parquet")

    answer = run("source", "check", mapping)

    assert answer.status == 1
    assert "no month ends before the last day" in answer.out


def test_a_log_without_anything_usable_is_told(mapping: Path, run: Any) -> None:
    log(track_id=pl.lit(None, dtype=pl.String)).write_parquet(mapping.parent / "log.parquet")

    answer = run("source", "check", mapping)

    assert answer.status == 1
    assert "no event keeps every rule" in answer.out


def test_a_world_does_not_change_with_the_mapping_that_it_was_made_of(mapping: Path) -> None:
    before = world("parquet", mapping)
    mapping.write_text(re.sub(r'name = "own"', 'name = "other"', mapping.read_text()))
    after = world("parquet", mapping)

    assert before != after
    assert open_source("parquet", before.source_parameters).schema.name == "own"


@pytest.mark.parametrize("data", [None, Path()])
def test_a_world_of_ones_own_needs_a_mapping(data: Path | None) -> None:
    with pytest.raises(CommandError, match=r"needs --data MAPPING.*marquee source init"):
        world("parquet", data)
    with pytest.raises(CommandError, match=r"want simulated, kuairand, parquet, .*; got 'csv'"):
        world("csv", data)


def test_files_that_are_gone_are_named(mapping: Path) -> None:
    config = world("parquet", mapping)
    (mapping.parent / "log.parquet").unlink()

    with pytest.raises(SourceError, match=r"no file or folder .*log\.parquet"):
        open_source("parquet", config.source_parameters)


@pytest.mark.parametrize(
    ("first", "last", "month", "days"),
    [
        ("2026-01-08", "2026-02-06", "2026-01-01", ["2026-02-04", "2026-02-05", "2026-02-06"]),
        # the newest base that is over before the last day, and only days after it
        ("2025-11-08", "2026-02-02", "2026-01-01", ["2026-02-01", "2026-02-02"]),
        ("2026-01-31", "2026-02-01", "2026-01-01", ["2026-02-01"]),
        ("2025-12-08", "2026-01-31", "2025-12-01", ["2026-01-29", "2026-01-30", "2026-01-31"]),
    ],
)
def test_the_last_days_are_fine_tuned_from_the_newest_base(
    first: str, last: str, month: str, days: list[str]
) -> None:
    steps = plan_last(date.fromisoformat(first), date.fromisoformat(last), 3)

    assert (steps.month, steps.days) == (month, days)
    assert (steps.history[0], len({*steps.history, *steps.days})) == (
        first,
        len(steps.history) + len(steps.days),
    )


def test_days_held_back_for_evaluation_are_taken_in_last(mapping: Path) -> None:
    steps = plan_last(date(2000, 10, 5), date(2001, 1, 2), 3, 30)

    assert steps.month == "2000-11-01"
    assert steps.history[-1] == "2000-11-30"
    assert steps.days == ["2000-12-01", "2000-12-02", "2000-12-03"]
    assert (steps.held_back[0], steps.held_back[-1]) == ("2000-12-04", "2001-01-02")
    assert len(steps.held_back) == 30

    text = mapping.read_text()
    config = world("parquet", mapping)
    assert "evaluation_days" not in config.source_parameters["mapping"]["world"]
    mapping.write_text(f"{text}\nevaluation_days = 1\n")
    with_one = world("parquet", mapping)
    assert with_one.source_parameters["mapping"]["world"]["evaluation_days"] == 1
    headline, job, days = stages(with_one, is_ranked=False)[-1]
    last = with_one.last_day.isoformat()
    assert (headline, job, days) == ("Take in 1 day to evaluate on", "ingestion", [last])


def test_a_mapping_sets_the_margin_of_the_quality_gate(mapping: Path) -> None:
    assert world("parquet", mapping).quality_margin == simulated().quality_margin

    mapping.write_text(f"{mapping.read_text()}\nquality_margin = 0.5\n")

    assert world("parquet", mapping).quality_margin == 0.5


def test_a_log_of_ones_own_is_ranked_only_if_it_says_what_was_shown(mapping: Path) -> None:
    config = world("parquet", mapping)
    jobs = [job for _, job, _ in stages(config, is_ranked=False)]

    assert jobs == ["ingestion", "monthly_pretraining", "daily_refresh", "daily_refresh"]
    assert [job for _, job, _ in stages(config, is_ranked=True)] == jobs, "two days train no ranker"
    simulated_stages = stages(simulated(), is_ranked=True)
    assert simulated_stages[0][0] == "Take in 21 days"
    assert simulated_stages[-1][1] == "downstream_team"
    assert stages(simulated(), is_ranked=False) == simulated_stages[:-1]


def test_without_a_month_that_ends_there_is_no_base() -> None:
    assert pretraining_month(date(2026, 2, 1), date(2026, 2, 28)) is None
    with pytest.raises(CommandError, match="take a longer part of the log"):
        plan_last(date(2026, 2, 1), date(2026, 2, 28), 3)
    assert fine_tuned_days(simulated()) is None


@pytest.mark.parametrize(
    ("name", "second", "encoding"),
    [("movielens-1m", 975_000_000, "latin-1"), ("movietweetings", 1_383_000_000, "utf8")],
)
def test_a_published_layout_needs_only_its_folder(
    tmp_path: Path, name: str, second: int, encoding: str
) -> None:
    ratings = [f"1::0012::{stars}::{second + stars}" for stars in (1, 3, 5, 10)]
    (tmp_path / "ratings.dat").write_text("\n".join(ratings) + "\n")
    (tmp_path / "movies.dat").write_text("0012::Amélie: 2 (2001)::Comedy\n", encoding=encoding)

    config = world(name, tmp_path)
    source = open_source(config.source, config.source_parameters)
    day = datetime.fromtimestamp(second, UTC).date()
    end = datetime.fromtimestamp(second, UTC) + timedelta(days=1)
    events = source.read_day(day, received_before=end).sort_by("occurred_at")

    assert source.schema.name == name
    assert events["action"].to_pylist()[0::3] == ["disliked", "liked"]
    assert events["rating"].to_pylist() == [1.0, 3.0, 5.0, 10.0]
    assert source.catalogue(as_of=end)["title"].to_pylist() == ["Amélie: 2 (2001)"]
    with pytest.raises(CommandError, match="needs --data FOLDER"):
        world(name, None)
