from dataclasses import replace
from datetime import UTC, date, datetime

import dagster as dg
import pytest

from assets.partitions import complete_days, daily_of, monthly_of, refresh_is_due_at
from assets.workspace import WorkspaceConfig

REPLAYED = WorkspaceConfig(
    source="simulated",
    source_parameters={},
    first_day=date(2026, 1, 30),
    last_day=date(2026, 2, 2),
    recipe="tiny",
)
LIVE = replace(REPLAYED, is_replay=False)


def keys(partitions: dg.PartitionsDefinition[str], at: datetime) -> list[str]:
    return list(partitions.get_partition_keys(current_time=at))


def at(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def test_a_replayed_world_has_the_days_and_whole_months_of_its_source() -> None:
    assert keys(daily_of(REPLAYED), at(9, 1, 0)) == [
        "2026-01-30",
        "2026-01-31",
        "2026-02-01",
        "2026-02-02",
    ]
    assert keys(monthly_of(REPLAYED), at(9, 1, 0)) == ["2026-01-01"]


def test_days_and_months_of_a_live_world_grow_beyond_the_last_day_it_was_made_with() -> None:
    assert keys(daily_of(LIVE), at(1, 30, 23)) == []
    assert keys(daily_of(LIVE), at(1, 31, 0)) == ["2026-01-30"]
    assert keys(daily_of(LIVE), at(3, 1, 0))[-1] == "2026-02-28"
    assert keys(monthly_of(LIVE), at(2, 1, 0)) == ["2026-01-01"]
    assert keys(monthly_of(LIVE), at(3, 1, 0)) == ["2026-01-01", "2026-02-01"]


def test_only_days_whose_watermark_has_passed_are_complete() -> None:
    assert complete_days(LIVE, now=at(2, 1, 5, 59)) == ["2026-01-30"]
    assert complete_days(LIVE, now=at(2, 1, 6)) == ["2026-01-30", "2026-01-31"]
    assert complete_days(LIVE, now=at(1, 2, 0)) == []
    assert complete_days(REPLAYED, now=at(9, 1, 0)) == keys(daily_of(REPLAYED), at(9, 1, 0))


@pytest.mark.parametrize("delay_h", [0, 6, 22, 23, 24, 30, 47, 72])
def test_when_a_refresh_is_due_the_newest_day_is_complete(delay_h: int) -> None:
    config = replace(LIVE, watermark_delay_h=delay_h)
    _, hour = refresh_is_due_at(config)

    due = at(2, 10, hour)

    assert keys(daily_of(config), due)[-1] == complete_days(config, now=due)[-1]
