"""Late events of one's own log: their day gets them when its lateness ends, and history stays."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.backfill import (
    ASSETS,
    DATA_VERSION_TAG,
    build_day,
    final_days,
    ingestion_of_days,
    told_versions,
)
from assets.erasure import erase
from assets.events import build_raw_events
from assets.late_arrivals import late_arrivals
from assets.reporting import BUILT, WAS_THERE, WORK
from assets.superseding import named, superseded_inputs
from assets.tokens import interaction_tokens
from assets.training_inputs import TrainingInputs, inputs_before
from assets.watermark import Clock, cut_of, days_to_final, wall_clock
from assets.workspace import Workspace, WorkspaceConfig
from lake.days import end_of, start_of
from lake.lake import Built, Written
from lake.refs import ArtifactRef
from tests.unit.training.events.listening import mapping
from training.errors import NoDataError
from training.events.artifacts import LATE_FILE, read_events, write_prefix

DAYS = [f"2026-01-0{n}" for n in range(1, 6)]
DAY, LATER = DAYS[0], DAYS[3]  # final three days after itself
LATENESS_H = {"prompt": None, "1 h": 1, "71 h": 71, "73 h": 73}


def rows(lateness: dict[str, int | None], day: str = DAY) -> pl.DataFrame:
    """Return a row per user, received so many hours after the day's end, or at once."""
    at = start_of(day) + timedelta(hours=12)
    got = [end_of(day) + timedelta(hours=hours) if hours else at for hours in lateness.values()]
    return pl.DataFrame(
        {
            "user": list(lateness),
            "track": "a",
            "played_at": at,
            "got": got,
            "finished": True,
            "ms_played": 200_000,
            "device": "speaker",
            "tags": None,
        },
        schema_overrides={"tags": pl.String},
    )


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    rows(LATENESS_H).write_parquet(folder / f"{DAY}.parquet")
    for day in DAYS[1:]:
        rows({"prompt": None}, day).write_parquet(folder / f"{day}.parquet")
    return folder


@pytest.fixture
def config(tmp_path: Path, logs: Path) -> WorkspaceConfig:
    document = mapping(
        tmp_path,
        events__files=[str(logs)],
        events__occurred_at={"column": "played_at", "unit": "timestamp"},
        events__received_at={"column": "got", "unit": "timestamp"},
        world={"first_day": DAYS[0], "last_day": DAYS[-1]},
    )
    return WorkspaceConfig(
        source="parquet",
        source_parameters={"mapping": document},
        first_day=date.fromisoformat(DAYS[0]),
        last_day=date.fromisoformat(DAYS[-1]),
        recipe="tiny",
    )


@pytest.fixture
def world(tmp_path: Path, config: WorkspaceConfig) -> Workspace:
    return Workspace.create(tmp_path / "own", config)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def again(workspace: Workspace) -> Workspace:
    """Return the workspace as the next run opens it: files may have arrived."""
    return Workspace.open(workspace.root)


def take_in(workspace: Workspace, *days: str, as_of_day: str | None = None) -> dict[str, Built]:
    """Take days in; return what was built of the last one."""
    for day in days:
        done = list(
            build_day(again(workspace), day, now=wall_clock(), as_of_day=as_of_day, has_pages=False)
        )
    return {one.ref.asset: one for one in done}


def refresh(
    workspace: Workspace, instance: dg.DagsterInstance, day: str, clock: Clock = wall_clock
) -> dict[str, Any]:
    """Take in what came late by the refresh of a day; return the metadata."""
    result = dg.materialize(
        [late_arrivals, *interaction_tokens_source()],
        selection=[late_arrivals],
        partition_key=day,
        resources={"workspace": again(workspace), "clock": clock},
        instance=instance,
    )
    (made,) = result.asset_materializations_for_node("late_arrivals")[-1:]
    return {name: one.value for name, one in made.metadata.items()}


def interaction_tokens_source() -> list[dg.AssetSpec]:
    return [dg.AssetSpec("interaction_tokens", partitions_def=interaction_tokens.partitions_def)]


def users_of(workspace: Workspace, day: str = DAY) -> list[str]:
    """Return whose events are valid on a day."""
    folder = workspace.lake.path(workspace.lake.require("valid_events", day))
    return sorted(set(read_events(folder)[1]["user_id"].to_pylist()))


def digests(workspace: Workspace) -> dict[tuple[str, str], str]:
    lake = again(workspace).lake
    return {key: lake.require(*key).digest for key in lake.built()}


def test_a_day_is_cut_at_its_watermark_until_it_is_final(config: WorkspaceConfig) -> None:
    watermark, final = end_of(DAY) + timedelta(hours=6), end_of(DAY) + timedelta(hours=72)

    assert days_to_final(config) == 3
    assert [cut_of(config, DAY, as_of_day=one) for one in DAYS] == [watermark] * 3 + [final] * 2
    live = replace(config, is_replay=False)
    assert cut_of(live, DAY, as_of_day=DAY) == final


@pytest.mark.parametrize(
    ("watermark_h", "allowed_h", "days"),
    [(6, 72, 3), (6, 78, 3), (6, 79, 4), (24, 24, 0), (9, 1, 0)],
)
def test_a_day_is_final_that_many_days_later_and_no_earlier(
    config: WorkspaceConfig, watermark_h: int, allowed_h: int, days: int
) -> None:
    config = replace(config, watermark_delay_h=watermark_h, allowed_lateness_h=allowed_h)
    final = end_of(DAY) + timedelta(hours=max(watermark_h, allowed_h))
    cuts = [cut_of(config, DAY, as_of_day=f"2026-01-{1 + n:02}") for n in range(6)]

    assert days_to_final(config) == days
    assert [cut == final for cut in cuts] == [n >= days for n in range(6)]


def test_what_came_late_is_read_once_the_lateness_of_its_day_ended(
    world: Workspace, instance: dg.DagsterInstance
) -> None:
    take_in(world, *DAYS[:3])
    assert users_of(world) == ["1 h", "prompt"]
    figures = world.lake.require("raw_events", DAY).figures
    assert [figures[name] for name in ("late", "late_taken", "too_late")] == [4, 0, 2]

    early = refresh(world, instance, DAYS[2])
    assert (early["taken in"], early[WORK]) == (0, WAS_THERE)
    assert users_of(world) == ["1 h", "prompt"]

    take_in(world, LATER)
    told = refresh(world, instance, LATER)

    assert users_of(world) == ["1 h", "71 h", "prompt"]
    counted = ("received late", "taken in", "too late", "tokens rewritten")
    assert [told[name] for name in counted] == [4, 2, 2, 3]
    assert told[WORK] == BUILT
    history = inputs_with_prefix(world, LATER).data.histories()
    assert sorted(history.user_ids) == ["1 h", "71 h", "prompt"]
    folder = world.lake.path(world.lake.require("raw_events", DAY))
    assert set(pl.read_parquet(folder / LATE_FILE)["user_id"]) == {"73 h"}


def inputs_with_prefix(workspace: Workspace, day: str) -> TrainingInputs:
    workspace.build(
        "history_prefix",
        "history",
        lambda folder: write_prefix(workspace.source, folder),
        code_of=["lake.lake"],
        as_of=start_of(DAY),
    )
    return inputs_before(workspace, end_of(day))


def test_each_artifact_that_changed_is_told_and_a_second_look_changes_nothing(
    world: Workspace, instance: dg.DagsterInstance
) -> None:
    take_in(world, *DAYS[:4])
    refresh(world, instance, LATER)
    made = digests(world)

    assert {name: told_versions(instance, name)[DAY] for name in ASSETS} == {
        name: made[name, DAY] for name in ASSETS
    }
    before = {name: len(told_versions(instance, name)) for name in ASSETS}
    records = instance.fetch_materializations(dg.AssetKey("raw_events"), 100).records

    told = refresh(world, instance, LATER)

    assert told[WORK] == WAS_THERE
    assert told["tokens rewritten"] == 0
    assert digests(world) == made
    assert {name: len(told_versions(instance, name)) for name in ASSETS} == before
    assert instance.fetch_materializations(dg.AssetKey("raw_events"), 100).records == records
    assert DATA_VERSION_TAG in (records[0].asset_materialization.tags or {})


def test_taking_a_day_in_again_alone_never_takes_late_events_back(
    world: Workspace, instance: dg.DagsterInstance
) -> None:
    take_in(world, *DAYS[:4])
    refresh(world, instance, LATER)

    alone = take_in(world, DAY)

    assert all(one.is_skipped for one in alone.values())
    assert users_of(world) == ["1 h", "71 h", "prompt"]


def test_a_day_without_late_events_is_not_made_again(
    world: Workspace, instance: dg.DagsterInstance
) -> None:
    take_in(world, *DAYS)
    before = world.lake.require("interaction_tokens", DAYS[1])

    refresh(world, instance, DAYS[4])

    assert world.lake.require("interaction_tokens", DAYS[1]) == before
    assert users_of(world) == ["1 h", "71 h", "prompt"]  # although its own refresh never came


def test_what_a_kill_left_half_taken_in_is_finished_by_a_later_refresh(
    world: Workspace, instance: dg.DagsterInstance
) -> None:
    take_in(world, *DAYS)
    build_raw_events(world, DAY, now=wall_clock(), as_of_day=LATER)
    assert users_of(world) == ["1 h", "prompt"]

    refresh(world, instance, DAYS[4])

    assert users_of(world) == ["1 h", "71 h", "prompt"]
    assert final_days(world, DAYS[4]) == [DAYS[1]]


def test_days_behind_some_that_are_settled_are_not_read(
    world: Workspace, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows({"prompt": None, "71 h": 71}, DAYS[1]).write_parquet(logs / f"{DAYS[1]}.parquet")
    take_in(world, *DAYS)  # the first two await late events
    monkeypatch.setattr("assets.backfill._LOOK_BACK_DAYS", 2)
    read: list[str] = []
    parsed = ArtifactRef.from_json

    def counted(data: bytes) -> ArtifactRef:
        read.append((ref := parsed(data)).partition)
        return ref

    monkeypatch.setattr(ArtifactRef, "from_json", counted)

    assert final_days(world, "2026-01-08") == [DAYS[4]]
    assert set(read) == {DAYS[3], DAYS[4]}
    # one that is not settled is a reason to look further back
    assert final_days(world, "2026-01-06") == DAYS[:3]


def test_a_day_that_cannot_be_taken_in_any_more_holds_up_no_later_refresh(
    world: Workspace, logs: Path, instance: dg.DagsterInstance
) -> None:
    take_in(world, *DAYS)
    stood = world.lake.require("interaction_tokens", DAY)
    nobody = rows(LATENESS_H).with_columns(user=pl.lit(None, pl.String))
    nobody.write_parquet(logs / f"{DAY}.parquet")
    with pytest.raises(NoDataError, match="no event satisfies every rule"):
        take_in(world, DAY)

    told = refresh(world, instance, DAYS[4])  # in which another day is due

    assert told["days that stay as they stand"] == DAY
    assert world.lake.require("interaction_tokens", DAY) == stood
    with pytest.raises(dg.Failure, match=DAY):
        refresh(world, instance, LATER)  # its own


def test_a_backfill_takes_in_what_came_late_of_days_before_it(
    world: Workspace, instance: dg.DagsterInstance
) -> None:
    take_in(world, *DAYS[:3])

    done = ingestion_of_days.execute_in_process(
        run_config={"ops": {"take_in": {"config": {"first_day": LATER, "last_day": DAYS[4]}}}},
        resources={"workspace": again(world), "clock": wall_clock},
        instance=instance,
    )

    assert done.success
    assert users_of(world) == ["1 h", "71 h", "prompt"]
    assert [len(told_versions(instance, "raw_events")), digests(world)["raw_events", DAY]] == [
        4,
        told_versions(instance, "raw_events")[DAY],
    ]


def test_many_days_in_one_run_are_those_that_single_runs_leave(
    tmp_path: Path, config: WorkspaceConfig, instance: dg.DagsterInstance
) -> None:
    singly, at_once = (Workspace.create(tmp_path / name, config) for name in ("singly", "at once"))
    for day in DAYS:
        take_in(singly, day)
        refresh(singly, instance, day)

    take_in(at_once, *DAYS, as_of_day=DAYS[-1])

    assert digests(at_once) == digests(singly)


def test_the_model_of_a_day_stays_and_names_the_inputs_that_were_superseded(
    world: Workspace, instance: dg.DagsterInstance
) -> None:
    take_in(world, *DAYS[:3])
    inputs = inputs_with_prefix(world, DAYS[2])

    def train(folder: Path) -> Written:
        (folder / "model").write_text(str(inputs.data.histories().num_tokens))
        return Written(1)

    def model() -> Built:
        return world.build(
            "fine_tuned_model",
            DAYS[2],
            train,
            code_of=["lake.lake"],
            as_of=end_of(DAYS[2]),
            inputs=inputs_before(world, end_of(DAYS[2])).refs,
            is_history=True,
        )

    first = model()
    assert superseded_inputs(world, first.ref) == []
    take_in(world, LATER)
    refresh(world, instance, LATER)

    kept = model()

    assert (kept.ref, kept.is_superseded) == (first.ref, True)
    world.lake.verify(kept.ref)
    assert named(superseded_inputs(world, kept.ref)) == f"interaction_tokens {DAY}"


def test_an_input_that_was_made_again_with_equal_content_is_not_superseded(
    world: Workspace, logs: Path
) -> None:
    take_in(world, *DAYS[:2])
    inputs = inputs_with_prefix(world, DAYS[1])
    model = world.build(
        "fine_tuned_model",
        DAYS[1],
        lambda folder: Written((folder / "model").write_text("")),
        code_of=["lake.lake"],
        as_of=end_of(DAYS[1]),
        inputs=inputs.refs,
    )
    delivered = pl.read_parquet(logs / f"{DAYS[1]}.parquet")
    pl.concat([delivered, delivered]).write_parquet(logs / "delivered again.parquet")

    assert not take_in(world, DAYS[1])["raw_events"].is_skipped

    assert superseded_inputs(again(world), model.ref) == []


def test_a_file_that_is_delivered_again_makes_nothing(world: Workspace, logs: Path) -> None:
    take_in(world, *DAYS[:4])
    before = digests(world)
    (logs / "again.parquet").write_bytes((logs / f"{DAY}.parquet").read_bytes())

    assert all(one.is_skipped for day in DAYS[:4] for one in take_in(world, day).values())

    assert digests(world) == before


def test_a_late_file_of_a_live_world_rewrites_its_own_day_alone(
    tmp_path: Path, config: WorkspaceConfig, logs: Path, instance: dg.DagsterInstance
) -> None:
    live = Workspace.create(tmp_path / "live", replace(config, is_replay=False))
    rows({"prompt": None}).write_parquet(logs / f"{DAY}.parquet")
    take_in(live, *DAYS[:4])
    before = digests(live)
    rows({"71 h": 71, "73 h": 73}).write_parquet(logs / "late.parquet")

    told = refresh(live, instance, LATER, lambda: datetime(2026, 1, 5, 7, tzinfo=UTC))

    after = digests(live)
    assert [told[name] for name in ("taken in", "too late")] == [2, 2]
    assert users_of(live) == ["71 h", "prompt"]
    changed = {key for key in after if after[key] != before.get(key)}
    assert {day for _, day in changed} == {DAY}
    assert ("vocabulary", DAY) not in changed


def test_a_user_is_erased_from_what_came_too_late_as_well(
    world: Workspace, instance: dg.DagsterInstance
) -> None:
    take_in(world, *DAYS[:4])
    refresh(world, instance, LATER)
    before = world.lake.require("raw_events", DAY)

    erase(again(world), ["73 h", "1 h"], at=datetime(2026, 2, 1, tzinfo=UTC))

    raw = world.lake.require("raw_events", DAY)
    folder = world.lake.path(raw)
    assert pl.read_parquet(folder / LATE_FILE).height == raw.figures["too_late"] == 0
    assert (raw.rows, raw.figures["late"]) == (before.rows - 2, before.figures["late"] - 2)
    assert users_of(world) == ["71 h", "prompt"]
    assert all(one.is_skipped for one in take_in(world, DAY).values())
