"""Daily and monthly partitions of the workspace that this code location is loaded for.

The days come from the workspace named by ``MARQUEE_WORKSPACE``: a replayed world has those from its
first to its last day, a live one has no last day, and Dagster adds each day and month when it is
over. With an empty environment the definitions still load, over one sample month.
"""

import os
from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg

from assets.timeline import month_of
from assets.watermark import days_to_final, is_complete
from assets.workspace import Workspace, WorkspaceConfig

REFRESH_DELAY_H = 1
"""How long after a day's watermark its refresh is due: what arrived has to be written, too."""

_SAMPLE = WorkspaceConfig(
    source="simulated",
    source_parameters={},
    first_day=date(2026, 1, 1),
    last_day=date(2026, 1, 31),
    recipe="tiny",
)


def _config() -> WorkspaceConfig:
    root = os.environ.get("MARQUEE_WORKSPACE")
    return Workspace.open(Path(root)).config if root else _SAMPLE


def refresh_is_due_at(config: WorkspaceConfig) -> tuple[int, int]:
    """Return how many midnights after a day's end its refresh is due, and at which hour (UTC)."""
    return divmod(config.watermark_delay_h + REFRESH_DELAY_H, 24)


def daily_of(config: WorkspaceConfig) -> dg.DailyPartitionsDefinition:
    """Return the days; when a refresh is due, the newest one is the day that it is for."""
    start = config.first_day.isoformat()
    if config.is_replay:
        end = config.last_day + timedelta(days=1)
        return dg.DailyPartitionsDefinition(start_date=start, end_date=end.isoformat())
    midnights, _ = refresh_is_due_at(config)
    return dg.DailyPartitionsDefinition(start_date=start, end_offset=-midnights)


def monthly_of(config: WorkspaceConfig) -> dg.MonthlyPartitionsDefinition:
    """Return the months up to the last one that is over."""
    start = month_of(config.first_day)
    if config.is_replay:
        end = month_of(config.last_day + timedelta(days=1))
        return dg.MonthlyPartitionsDefinition(start_date=start, end_date=end)
    return dg.MonthlyPartitionsDefinition(start_date=start)


def complete_days(config: WorkspaceConfig, *, now: datetime) -> list[str]:
    """Return the days that have a partition and whose watermark has passed, in order."""
    days = daily_of(config).get_partition_keys(current_time=now)
    return [day for day in days if is_complete(config, day, now=now)]


CONFIG = _config()

daily = daily_of(CONFIG)
monthly = monthly_of(CONFIG)

days_of_the_month = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
"""A month reads its days; those before the first day of events do not exist."""

the_day_before = dg.TimeWindowPartitionMapping(
    start_offset=-1, end_offset=-1, allow_nonexistent_upstream_partitions=True
)

the_day_that_is_final = dg.TimeWindowPartitionMapping(
    start_offset=-days_to_final(CONFIG),
    end_offset=-days_to_final(CONFIG),
    allow_nonexistent_upstream_partitions=True,
)
"""The day whose lateness has ended by a day's watermark."""
