from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from assets.automation import newly_arrived_events
from assets.definitions import defs
from assets.workspace import Workspace, WorkspaceConfig

LIVE = WorkspaceConfig(
    source="simulated",
    source_parameters={"num_users": 10, "first_day": "2026-01-05", "num_days": 9},
    first_day=date(2026, 1, 5),
    last_day=date(2026, 1, 5),
    recipe="tiny",
    is_replay=False,
)


class Look:
    """Looks of the sensor at a workspace, one after another."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._cursor: str | None = None

    def __call__(self, now: datetime) -> list[str]:
        """Return the days that are requested at an instant."""
        resources = {"workspace": self._workspace, "clock": lambda: now}
        with dg.build_sensor_context(
            cursor=self._cursor, resources=resources, definitions=defs
        ) as context:
            found = newly_arrived_events.evaluate_tick(context)
        self._cursor = found.cursor
        return [str(request.partition_key) for request in found.run_requests or ()]


def test_a_live_day_is_requested_once_when_it_is_complete(tmp_path: Path) -> None:
    look = Look(Workspace.create(tmp_path, LIVE))

    assert look(datetime(2026, 1, 5, 12, tzinfo=UTC)) == []
    assert look(datetime(2026, 1, 6, 5, 59, tzinfo=UTC)) == []
    assert look(datetime(2026, 1, 6, 6, tzinfo=UTC)) == ["2026-01-05"]
    assert look(datetime(2026, 1, 6, 23, tzinfo=UTC)) == []
    assert look(datetime(2026, 1, 8, 6, tzinfo=UTC)) == ["2026-01-06", "2026-01-07"]


def test_nothing_is_requested_before_the_first_day(tmp_path: Path) -> None:
    look = Look(Workspace.create(tmp_path, LIVE))

    assert look(datetime(2025, 12, 1, tzinfo=UTC)) == []


def test_a_replayed_world_is_requested_whole(tmp_path: Path) -> None:
    replayed = replace(LIVE, is_replay=True, last_day=date(2026, 1, 7))
    look = Look(Workspace.create(tmp_path, replayed))

    assert look(datetime(2026, 9, 1, tzinfo=UTC)) == ["2026-01-05", "2026-01-06", "2026-01-07"]


@pytest.mark.parametrize(
    ("schedule", "cron"),
    [("daily_refresh_schedule", "0 7 * * *"), ("monthly_pretraining_schedule", "0 12 1 * *")],
)
def test_schedules_wait_for_the_watermark(schedule: str, cron: str) -> None:
    assert defs.resolve_schedule_def(schedule).cron_schedule == cron
