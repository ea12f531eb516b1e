"""The assets of events, called with plain values over a small simulated world."""

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from assets.errors import IncompleteDayError
from assets.events import catalogue, raw_events, valid_events
from assets.pages import PAGES_URL, pages_folder
from assets.watermark import Clock, wall_clock
from assets.workspace import Workspace, WorkspaceConfig
from lake.atomic import replace_json
from lake.lake import Written
from lake.refs import ArtifactRef
from training.events.artifacts import read_events
from training.events.day_aggregates import DayAggregates
from training.events.parts import write_raw_parts

FIRST, DAY = date(2026, 1, 1), "2026-01-08"
CONFIG = WorkspaceConfig(
    source="simulated",
    source_parameters={
        "num_users": 60,
        "num_titles": 100,
        "first_day": FIRST.isoformat(),
        "num_days": 10,
    },
    first_day=FIRST,
    last_day=date(2026, 1, 10),
    recipe="tiny",
)


def materialize(
    asset: dg.AssetsDefinition, workspace: Workspace, **inputs: ArtifactRef | Clock
) -> dg.MaterializeResult[ArtifactRef]:
    """Call an asset for the day."""
    with dg.build_asset_context(partition_key=DAY) as context:
        result: dg.MaterializeResult[ArtifactRef] = asset(context, workspace=workspace, **inputs)
    return result


def made(
    asset: dg.AssetsDefinition, workspace: Workspace, **inputs: ArtifactRef | Clock
) -> ArtifactRef:
    """Return what stands for the day once it is materialized."""
    return materialize(asset, workspace, **inputs).value


def arrived(workspace: Workspace) -> dict[str, ArtifactRef]:
    """Return what valid events are made of."""
    return {
        "raw_events": made(raw_events, workspace, clock=wall_clock),
        "catalogue": made(catalogue, workspace),
    }


def valid(workspace: Workspace) -> ArtifactRef:
    """Take in and validate the day."""
    return made(valid_events, workspace, **arrived(workspace))


@pytest.fixture
def week_of(tmp_path: Path, ref: ArtifactRef) -> Callable[..., Workspace]:
    """Return a maker of workspaces whose days before have so many valid rows."""

    def _workspace(rows: Sequence[int], *, is_blocked: bool = False) -> Workspace:
        workspace = Workspace.create(tmp_path / f"after-{rows}-{is_blocked}", CONFIG)
        for n, count in enumerate(rows):
            day = (FIRST + timedelta(days=n)).isoformat()
            usual = DayAggregates(
                rows=count,
                users=count,
                nulls={},
                numbers={},
                not_finite={},
                instants={},
                counts={},
                spreads={},
                min_delay_s=None,
                delay_p95_s=None,
            )
            validation = {"is_blocked": is_blocked, "aggregates": usual.to_json()}
            before = replace(
                ref, asset="valid_events", partition=day, figures={"validation": validation}
            )
            path = workspace.lake.root / "refs" / "valid_events" / f"{day}.json"
            replace_json(path, before.to_json())
        return workspace

    return _workspace


def test_the_week_before_is_no_part_of_a_days_digest(
    week_of: Callable[..., Workspace],
) -> None:
    alone, crowded = (valid(week_of(rows)) for rows in ([], [10_000_000] * 7))

    assert alone.digest == crowded.digest
    assert "volume_is_usual" not in alone.figures["validation"]["warned"]
    assert "volume_is_usual" in crowded.figures["validation"]["warned"]


def test_a_blocked_day_is_nothing_to_judge_others_by(week_of: Callable[..., Workspace]) -> None:
    after = valid(week_of([10_000_000] * 7, is_blocked=True))

    assert "volume_is_usual" not in after.figures["validation"]["warned"]


def test_a_repeated_delivery_is_no_part_of_a_days_digest(
    week_of: Callable[..., Workspace],
) -> None:
    workspace = week_of([])
    inputs = arrived(workspace)
    once = made(valid_events, workspace, **inputs)
    folder = workspace.lake.path(inputs["raw_events"])

    def twice(into: Path) -> Written:
        schema, events = read_events(folder)
        write_raw_parts(pa.concat_tables([events, events]), schema, into, num_buckets=8)
        shutil.copy(folder / "schema.json", into)
        return Written(2 * events.num_rows)

    built = workspace.build(
        "raw_events", DAY, twice, code_of=["lake.lake"], as_of=workspace.served_at(DAY)
    )
    again = made(valid_events, workspace, **{**inputs, "raw_events": built.ref})

    assert again.logical_id != once.logical_id
    assert again.digest == once.digest
    assert again.figures["duplicates"] > once.figures["duplicates"]


def test_the_asset_page_leads_to_the_engines_own_pages(
    week_of: Callable[..., Workspace],
) -> None:
    workspace = week_of([])
    inputs = arrived(workspace)

    for _ in range(2):  # made, then skipped
        metadata = materialize(valid_events, workspace, **inputs).metadata or {}
        linked = dict(re.findall(r"\[(\w+)\]\((\S+)\)", metadata["data docs"].value))
        suites = {f"simulated_{name}" for name in ("day", "drift", "values", "sample")}
        assert set(linked) == {"checks", *suites}
        for url in linked.values():
            page = pages_folder(workspace.root) / url.removeprefix(f"{PAGES_URL}/")
            assert page.read_text().startswith("<!DOCTYPE html>")


def test_a_live_day_is_refused_until_its_watermark_has_passed(tmp_path: Path) -> None:
    live = Workspace.create(tmp_path, replace(CONFIG, is_replay=False, watermark_delay_h=30))
    watermark = datetime(2026, 1, 10, 6, tzinfo=UTC)

    with pytest.raises(IncompleteDayError, match=r"complete at 2026-01-10 06:00 .* it is .* 05:59"):
        made(raw_events, live, clock=lambda: watermark - timedelta(seconds=1))

    assert live.lake.find("raw_events", DAY) is None
    final = datetime(2026, 1, 12, tzinfo=UTC)
    assert made(raw_events, live, clock=lambda: watermark).as_of == final.isoformat()


def test_a_replayed_day_is_complete_whatever_the_clock_says(tmp_path: Path) -> None:
    replayed = Workspace.create(tmp_path, CONFIG)

    assert made(raw_events, replayed, clock=lambda: datetime(1999, 1, 1, tzinfo=UTC)).rows > 0
