"""A day of poisoned rows: a little is set aside whole, too much blocks the day."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.backfill import build_day
from assets.events import build_catalogue, build_quarantined_events, build_valid_events
from assets.tokens import build_tokens
from assets.workspace import Workspace, WorkspaceConfig
from lake.lake import Written
from lake.refs import ArtifactRef
from training.errors import ContractError
from training.events.artifacts import read_events, scan_events, write_raw
from training.events.parts import write_raw_parts

BEFORE, DAY = date(2026, 1, 1), date(2026, 1, 2)
NOW = datetime(2027, 1, 1, tzinfo=UTC)
CLEAN = dict.fromkeys(
    (
        *("late_rate", "missing_id_rate", "out_of_order_rate"),
        *("duplicate_rate", "malformed_rate", "unknown_item_rate"),
    ),
    0.0,
)
CONFIG = WorkspaceConfig(
    source="simulated",
    source_parameters={
        "num_users": 4_000,
        "num_titles": 300,
        "first_day": BEFORE.isoformat(),
        "num_days": 3,
        **CLEAN,
    },
    first_day=BEFORE,
    last_day=date(2026, 1, 3),
    recipe="tiny",
)

Poison = Callable[[pl.DataFrame], pl.DataFrame]


def given(**values: Any) -> Poison:
    """Return a poison that overwrites columns."""
    return lambda rows: rows.with_columns(
        pl.lit(value).cast(rows.schema[name]).alias(name) for name, value in values.items()
    )


def moved(*, days: int) -> Poison:
    """Return a poison that moves events to another day."""
    at = pl.col("occurred_at", "received_at") + timedelta(days=days)
    return lambda rows: rows.with_columns(at)


# by the rule that refuses them
POISONS: dict[str, list[Poison]] = {
    "user_id is filled": [given(user_id=None), given(user_id="")],
    "item_id is filled": [given(item_id=None), given(item_id="")],
    "action is filled": [given(action=None)],
    "occurred_at is filled": [given(occurred_at=None)],
    "action is known": [given(action="plya")],
    "occurred on the day": [moved(days=-1), moved(days=1)],
    "occurred before it was received": [
        lambda rows: rows.with_columns(received_at=pl.col("occurred_at") - timedelta(minutes=6))
    ],
    "item is in the catalogue": [given(item_id="t-none")],
    "watch_duration is not negative": [given(watch_duration=-1)],
    "position is finite": [given(position=float("nan")), given(position=float("inf"))],
    "one content per event_id": [
        lambda rows: rows.with_columns(
            event_id=pl.col("event_id").str.strip_prefix("poison-"),
            device=pl.lit("a device of nobody's"),
            received_at=pl.col("received_at") + timedelta(seconds=1),
        )
    ],
}


def poisoned(raw: pl.DataFrame, *, rows: int) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return rows of poison, as many of each kind, and their numbers by rule."""
    kinds = [(rule, one) for rule, several in POISONS.items() for one in several]
    made, by_rule = [], dict.fromkeys(POISONS, 0)
    copies = raw.sample(rows, seed=3).with_columns(
        event_id=pl.concat_str(pl.lit("poison-"), "event_id")
    )
    for number, (rule, poison) in enumerate(kinds):
        bad = poison(copies.gather_every(len(kinds), number))
        made.append(bad.select(raw.columns))
        by_rule[rule] += bad.height
    return pl.concat(made), by_rule


@pytest.fixture
def world(tmp_path: Path) -> Workspace:
    """A workspace with the day before taken in."""
    workspace = Workspace.create(tmp_path / "world", CONFIG)
    list(build_day(workspace, BEFORE.isoformat(), now=NOW))
    return workspace


def raw_with(workspace: Workspace, *, poison: float) -> tuple[ArtifactRef, dict[str, int]]:
    """Return a day as it arrived with a share of poison, and its rows by the rule they break."""
    planted: dict[str, int] = {}

    def write(folder: Path) -> Written:
        clean = folder / "clean"
        clean.mkdir()
        written = write_raw(workspace.source, DAY, NOW, clean)
        schema, events = scan_events(clean)
        genuine = events.collect()
        bad, by_rule = poisoned(genuine, rows=round(genuine.height * poison / (1 - poison)))
        planted.update(by_rule)
        both = pl.concat([genuine, bad]).sample(fraction=1, shuffle=True, seed=5)
        table = both.to_arrow().cast(schema.arrow_schema)
        write_raw_parts(table, schema, folder, num_buckets=CONFIG.num_buckets)
        shutil.copy(clean / "schema.json", folder)
        shutil.rmtree(clean)
        return Written(both.height, written.figures)

    built = workspace.build("raw_events", DAY.isoformat(), write, code_of=["lake.lake"], as_of=NOW)
    return built.ref, planted


def test_one_percent_of_poison_is_set_aside_whole_and_alone(world: Workspace) -> None:
    raw, planted = raw_with(world, poison=0.01)
    titles = build_catalogue(world, DAY.isoformat()).ref

    aside = build_quarantined_events(world, raw, titles).ref
    valid = build_valid_events(world, raw, titles, has_pages=False).ref
    tokens = build_tokens(world, valid).ref

    assert raw.rows > 10_000
    assert sum(planted.values()) == pytest.approx(raw.rows * 0.01, rel=0.02)
    assert {rule: n for rule, n in aside.figures["by_rule"].items() if n} == planted
    assert valid.figures["duplicates"] == 0
    _, rows = read_events(world.lake.path(aside))
    is_planted = [
        one["event_id"].startswith("poison-") or one["device"] == "a device of nobody's"
        for one in rows.select(["event_id", "device"]).to_pylist()
    ]
    assert all(is_planted)
    _, kept = scan_events(world.lake.path(valid))
    strange = pl.col("event_id").str.starts_with("poison-")
    assert kept.filter(strange | (pl.col("device") == "a device of nobody's")).collect().is_empty()
    assert valid.rows + aside.rows == raw.rows
    assert not valid.figures["validation"]["is_blocked"]
    assert tokens.rows > 0


def test_more_poison_than_allowed_blocks_the_day_and_leaves_the_others(world: Workspace) -> None:
    stood = world.lake.require("interaction_tokens", BEFORE.isoformat())
    raw, _ = raw_with(world, poison=0.06)
    titles = build_catalogue(world, DAY.isoformat()).ref

    valid = build_valid_events(world, raw, titles, has_pages=False).ref

    assert valid.figures["validation"]["failed"] == ["quarantine_ratio_is_low"]
    with pytest.raises(ContractError, match="become no tokens: quarantine_ratio_is_low"):
        build_tokens(world, valid)
    assert world.lake.find("interaction_tokens", DAY.isoformat()) is None
    assert world.lake.require("interaction_tokens", BEFORE.isoformat()) == stood


def test_the_limit_is_the_workspaces(tmp_path: Path) -> None:
    lenient = Workspace.create(tmp_path / "lenient", replace(CONFIG, max_quarantined=0.1))
    raw, _ = raw_with(lenient, poison=0.06)
    titles = build_catalogue(lenient, DAY.isoformat()).ref

    valid = build_valid_events(lenient, raw, titles, has_pages=False).ref

    assert not valid.figures["validation"]["is_blocked"]
