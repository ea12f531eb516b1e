"""Files of one's own log that arrive day by day: what was made of the days before stays."""

from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from assets.events import catalogue, raw_events
from assets.reporting import WAS_THERE, WORK
from assets.watermark import wall_clock
from assets.workspace import Workspace, WorkspaceConfig
from tests.unit.training.events.listening import DAY_MS, PLAYS, START_MS, mapping, plays

FIRST, LAST = date(2026, 1, 30), date(2026, 2, 1)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    plays().write_parquet(folder / "1.parquet")
    return folder


@pytest.fixture
def workspace(tmp_path: Path, logs: Path) -> Workspace:
    days = {"first_day": FIRST.isoformat(), "last_day": LAST.isoformat()}
    document = mapping(tmp_path, events__files=[str(logs)], world=days)
    config = WorkspaceConfig(
        source="parquet",
        source_parameters={"mapping": document},
        first_day=FIRST,
        last_day=LAST,
        recipe="tiny",
    )
    return Workspace.create(tmp_path / "own", config)


def taken_in(workspace: Workspace, day: str) -> dict[str, bool]:
    """Take a day in; return by asset whether it was there already."""
    opened = Workspace.open(workspace.root)  # as every run does
    skipped = {}
    for asset, inputs in ((raw_events, {"clock": wall_clock}), (catalogue, {})):
        with dg.build_asset_context(partition_key=day) as context:
            result = asset(context, workspace=opened, **inputs)
        skipped[asset.key.to_user_string()] = result.metadata[WORK] == WAS_THERE
    return skipped


def test_tomorrows_file_leaves_yesterdays_artifacts_skipped(
    workspace: Workspace, logs: Path
) -> None:
    days = ("2026-01-30", "2026-01-31")
    for day in days:
        assert not any(taken_in(workspace, day).values())

    plays([{**PLAYS[0], "played_at": START_MS + 2 * DAY_MS}]).write_parquet(logs / "2.parquet")

    assert not any(taken_in(workspace, "2026-02-01").values())
    for day in days:
        assert all(taken_in(workspace, day).values())


def test_a_late_file_makes_its_own_day_anew(workspace: Workspace, logs: Path) -> None:
    for day in ("2026-01-30", "2026-01-31"):
        taken_in(workspace, day)

    plays([{**PLAYS[3], "track": "z"}]).write_parquet(logs / "late.parquet")

    assert all(taken_in(workspace, "2026-01-30").values())
    assert not any(taken_in(workspace, "2026-01-31").values())
    assert workspace.lake.require("raw_events", "2026-01-31").rows == 6
