"""Daily and monthly partitions of the workspace that this code location is loaded for.

The window of days comes from the workspace named by ``MARQUEE_WORKSPACE``. With an empty
environment the definitions still load, over one sample month.
"""

import os
from datetime import date, timedelta
from pathlib import Path

import dagster as dg

from assets.timeline import month_of
from assets.workspace import Workspace


def _window() -> tuple[date, date]:
    root = os.environ.get("MARQUEE_WORKSPACE")
    if not root:
        return date(2026, 1, 1), date(2026, 1, 31)
    config = Workspace.open(Path(root)).config
    return config.first_day, config.last_day


FIRST_DAY, LAST_DAY = _window()

daily = dg.DailyPartitionsDefinition(
    start_date=FIRST_DAY.isoformat(), end_date=(LAST_DAY + timedelta(days=1)).isoformat()
)
monthly = dg.MonthlyPartitionsDefinition(
    # up to the last month that is complete
    start_date=month_of(FIRST_DAY),
    end_date=month_of(LAST_DAY + timedelta(days=1)),
)

days_of_the_month = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
"""A month reads its days; those before the first day of events do not exist."""

the_day_before = dg.TimeWindowPartitionMapping(
    start_offset=-1, end_offset=-1, allow_nonexistent_upstream_partitions=True
)
