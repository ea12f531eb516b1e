"""The assets of events, called with plain values over a small simulated world."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.events import catalogue, raw_events, valid_events
from assets.workspace import Workspace, WorkspaceConfig
from lake.atomic import replace_json
from lake.lake import Written
from lake.refs import ArtifactRef

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
    asset: dg.AssetsDefinition, workspace: Workspace, **inputs: ArtifactRef
) -> dg.MaterializeResult[ArtifactRef]:
    """Call an asset for the day."""
    with dg.build_asset_context(partition_key=DAY) as context:
        result: dg.MaterializeResult[ArtifactRef] = asset(context, workspace=workspace, **inputs)
    return result


def made(asset: dg.AssetsDefinition, workspace: Workspace, **inputs: ArtifactRef) -> ArtifactRef:
    """Return what stands for the day once it is materialized."""
    return materialize(asset, workspace, **inputs).value


def valid(workspace: Workspace) -> ArtifactRef:
    """Take in and validate the day."""
    raw, titles = made(raw_events, workspace), made(catalogue, workspace)
    return made(valid_events, workspace, raw_events=raw, catalogue=titles)


@pytest.fixture
def week_of(tmp_path: Path, ref: ArtifactRef) -> Callable[[Sequence[int]], Workspace]:
    """Return a maker of workspaces whose days before have so many valid rows."""

    def _workspace(rows: Sequence[int]) -> Workspace:
        workspace = Workspace.create(tmp_path / f"after-{rows}", CONFIG)
        for n, count in enumerate(rows):
            day = (FIRST + timedelta(days=n)).isoformat()
            before = replace(ref, asset="valid_events", partition=day, rows=count)
            path = workspace.lake.root / "refs" / "valid_events" / f"{day}.json"
            replace_json(path, before.to_json())
        return workspace

    return _workspace


def test_the_week_before_is_no_part_of_a_days_digest(
    week_of: Callable[[Sequence[int]], Workspace],
) -> None:
    alone, crowded = (valid(week_of(rows)) for rows in ([], [10_000_000] * 7))

    assert alone.digest == crowded.digest
    assert "volume_is_usual" not in alone.figures["validation"]["warned"]
    assert "volume_is_usual" in crowded.figures["validation"]["warned"]


def test_a_repeated_delivery_is_no_part_of_a_days_digest(
    week_of: Callable[[Sequence[int]], Workspace],
) -> None:
    workspace = week_of([])
    raw, titles = made(raw_events, workspace), made(catalogue, workspace)
    once = made(valid_events, workspace, raw_events=raw, catalogue=titles)
    folder = workspace.lake.path(raw)

    def twice(into: Path) -> Written:
        events = pq.read_table(folder / "events.parquet")
        pq.write_table(pa.concat_tables([events, events]), into / "events.parquet")
        shutil.copy(folder / "schema.json", into)
        return Written(2 * events.num_rows)

    built = workspace.build(
        "raw_events", DAY, twice, code_of=["lake.lake"], as_of=workspace.served_at(DAY)
    )
    again = made(valid_events, workspace, raw_events=built.ref, catalogue=titles)

    assert again.logical_id != once.logical_id
    assert again.digest == once.digest
    assert again.figures["duplicates"] > once.figures["duplicates"]


def test_the_asset_page_leads_to_the_engines_own_pages(
    week_of: Callable[[Sequence[int]], Workspace],
) -> None:
    workspace = week_of([])
    inputs = {
        asset.key.to_user_string(): made(asset, workspace) for asset in (raw_events, catalogue)
    }

    for _ in range(2):  # made, then skipped
        metadata = materialize(valid_events, workspace, **inputs).metadata or {}
        pages = Path(metadata["data docs"].path).glob("*.html")
        assert {page.stem for page in pages} == {"simulated_events", "simulated_day"}
