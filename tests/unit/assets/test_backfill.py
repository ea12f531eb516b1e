"""Many days in one run, over a small simulated world and the orchestrator's records in memory."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.backfill import ASSETS, DATA_VERSION_TAG, build_day, ingestion_of_days, told_versions
from assets.definitions import defs
from assets.events import catalogue, quarantined_events, raw_events, valid_events
from assets.io_manager import RefIOManager
from assets.pages import docs_folder
from assets.reporting import is_skipped
from assets.tokens import interaction_tokens, item_statistics, viewing_tokens, vocabulary
from assets.watermark import wall_clock
from assets.workspace import Workspace, WorkspaceConfig

DAYS = ["2026-01-01", "2026-01-02", "2026-01-03"]
CONFIG = WorkspaceConfig(
    source="simulated",
    source_parameters={
        "num_users": 60,
        "num_titles": 100,
        "first_day": DAYS[0],
        "num_days": 3,
    },
    first_day=date(2026, 1, 1),
    last_day=date(2026, 1, 3),
    recipe="tiny",
)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def world(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "replayed", CONFIG)


def take_in(
    workspace: Workspace,
    instance: dg.DagsterInstance,
    last_day: str = DAYS[-1],
    now: datetime | None = None,
    first_day: str = DAYS[0],
) -> dg.ExecuteInProcessResult:
    days = {"first_day": first_day, "last_day": last_day}
    return ingestion_of_days.execute_in_process(
        run_config={"ops": {"take_in": {"config": days}}},
        resources={"workspace": workspace, "clock": lambda: now or wall_clock()},
        instance=instance,
        raise_on_error=False,
    )


def told(result: dg.ExecuteInProcessResult) -> list[dg.AssetMaterialization]:
    made = [event for event in result.all_events if event.is_step_materialization]
    return [event.step_materialization_data.materialization for event in made]


def table(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(record.data) for record in metadata["days"].records]


def output(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (done,) = [event for event in result.all_events if event.is_successful_output]
    return dict(done.step_output_data.metadata)


def test_each_day_is_told_with_its_own_version_as_its_own_run_tells_it(
    world: Workspace, instance: dg.DagsterInstance
) -> None:
    result = take_in(world, instance)

    assert result.success
    assert [(one.asset_key.to_user_string(), one.partition) for one in told(result)] == [
        (asset, day) for day in DAYS for asset in ASSETS
    ]
    for one in told(result):
        ref = world.lake.require(one.asset_key.to_user_string(), str(one.partition))
        assert (one.tags or {})[DATA_VERSION_TAG] == ref.digest
        assert one.metadata["dagster/row_count"].value == ref.rows
    assert len({told_versions(instance, "raw_events")[day] for day in DAYS}) == len(DAYS)

    assets = [catalogue, vocabulary, raw_events, quarantined_events, valid_events]
    alone = dg.materialize(
        [*assets, interaction_tokens, viewing_tokens, item_statistics],
        partition_key=DAYS[1],
        resources={"workspace": world, "clock": wall_clock, "io_manager": RefIOManager(world)},
        instance=instance,
    )
    versions = {
        one.asset_key.to_user_string(): one.tags
        for one in told(result)[len(ASSETS) : 2 * len(ASSETS)]
    }
    for asset in ASSETS:
        (again,) = alone.asset_materializations_for_node(asset)
        assert is_skipped(again.metadata)
        assert (again.tags or {})[DATA_VERSION_TAG] == versions[asset][DATA_VERSION_TAG]


def test_running_again_skips_every_day_and_tells_nothing_again(
    world: Workspace, instance: dg.DagsterInstance
) -> None:
    first, again = take_in(world, instance), take_in(world, instance)

    assert output(first)["skipped"].value == 0
    assert [(row["day"], row["made"]) for row in table(output(first))] == [
        (day, len(ASSETS)) for day in DAYS
    ]
    assert all(row["interaction_tokens"] > 0 for row in table(output(first)))
    assert again.success
    assert told(again) == []
    assert output(again)["skipped"].value == len(DAYS) * len(ASSETS)
    assert [row["made"] for row in table(output(again))] == [0, 0, 0]


def test_a_day_that_was_made_but_never_told_is_told(
    world: Workspace, instance: dg.DagsterInstance
) -> None:
    """As after a kill between the two."""
    made = [one.ref for one in build_day(world, DAYS[0], now=wall_clock())]

    result = take_in(world, instance, last_day=DAYS[0])

    assert [(one.tags or {})[DATA_VERSION_TAG] for one in told(result)] == [
        ref.digest for ref in made
    ]
    assert all(is_skipped(one.metadata) for one in told(result))


def test_a_bad_day_is_named_and_the_days_before_it_stay(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    live = Workspace.create(tmp_path / "live", replace(CONFIG, is_replay=False))
    on_the_third = datetime(2026, 1, 3, 12, tzinfo=UTC)

    result = take_in(live, instance, now=on_the_third)

    assert not result.success
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    failure = failed.step_failure_data.user_failure_data
    assert failure is not None
    assert str(failure.description).startswith("2026-01-03: 2026-01-03 is complete at 2026-01-04")
    assert [(row["day"], row["made"]) for row in table(dict(failure.metadata))] == [
        ("2026-01-01", len(ASSETS)),
        ("2026-01-02", len(ASSETS)),
        ("2026-01-03", 0),
    ]
    assert [one.partition for one in told(result)] == [DAYS[0]] * len(ASSETS) + [DAYS[1]] * len(
        ASSETS
    )

    rest = take_in(live, instance, now=datetime(2026, 1, 9, tzinfo=UTC))

    assert rest.success
    assert [row["made"] for row in table(output(rest))] == [0, 0, len(ASSETS)]


def test_a_refused_day_ends_the_run_and_its_check_says_which(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    strict = Workspace.create(tmp_path / "strict", replace(CONFIG, max_quarantined=0.0))

    result = take_in(strict, instance)

    assert not result.success
    evaluations = {one.check_name: one for one in result.get_asset_check_evaluations()}
    refused = evaluations["quarantine_ratio_is_low"]
    assert not refused.passed
    assert refused.blocking
    assert re.match(r"2026-01-02: the day: \d\.\d\d%, want at most 0\.0%", str(refused.description))
    assert evaluations["day_has_rows"].passed
    assert [ref.partition for ref in strict.lake.refs("interaction_tokens")] == DAYS[:1]
    assert [ref.partition for ref in strict.lake.refs("catalogue")] == DAYS[:2]


@pytest.mark.parametrize(
    ("first_day", "last_day"),
    [
        ("2026-01-03", "2026-01-01"),
        ("2025-12-31", "2026-01-01"),
        ("2026-01-03", "2026-01-04"),
        ("2026-W01-4", "2026-01-02"),
        ("20260101", "2026-01-02"),
        ("yesterday", "2026-01-02"),
    ],
)
def test_days_that_are_none_of_the_worlds_are_refused_before_anything_is_made(
    world: Workspace, instance: dg.DagsterInstance, first_day: str, last_day: str
) -> None:
    """Whoever starts the job by hand types them."""
    result = take_in(world, instance, first_day=first_day, last_day=last_day)

    assert not result.success
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    failure = failed.step_failure_data.user_failure_data
    assert failure is not None
    assert str(failure.description) == (
        "want days as YYYY-MM-DD, in order, from 2026-01-01 to 2026-01-03; got "
        f"{first_day!r} to {last_day!r}"
    )
    assert list(world.lake.built()) == []


def test_the_page_of_a_backfilled_day_is_drawn_when_the_day_runs_alone(
    world: Workspace, instance: dg.DagsterInstance
) -> None:
    docs = docs_folder(world.root, DAYS[0])
    docs.mkdir(parents=True)
    (docs / "rows.html").write_text("of the day before its late events came")
    take_in(world, instance, last_day=DAYS[0])
    assert not docs.exists()

    refs = {name: world.lake.require(name, DAYS[0]) for name in ("raw_events", "catalogue")}
    with dg.build_asset_context(partition_key=DAYS[0]) as context:
        valid_events(context, workspace=world, **refs)

    pages = ["checks", *(f"simulated_{name}" for name in ("day", "drift", "sample", "values"))]
    assert sorted(page.stem for page in docs.glob("*.html")) == pages


def test_the_definitions_hold_the_job() -> None:
    assert defs.resolve_job_def("ingestion_of_days").name == "ingestion_of_days"
