from datetime import UTC, date, datetime

import pytest

from assets.errors import GapError
from assets.timeline import days_between, end_of_month, month_of, require_days


@pytest.mark.parametrize(
    ("month", "end"), [("2026-01-01", "2026-02-01"), ("2024-02-01", "2024-03-01")]
)
def test_a_month_ends_where_the_next_one_starts(month: str, end: str) -> None:
    assert end_of_month(month) == datetime.fromisoformat(end).replace(tzinfo=UTC)


def test_the_year_ends_in_december() -> None:
    assert end_of_month("2025-12-01") == datetime(2026, 1, 1, tzinfo=UTC)
    assert month_of(date(2025, 12, 31)) == "2025-12-01"


def test_a_gap_names_the_first_missing_day_and_the_command() -> None:
    have = days_between(date(2026, 1, 1), date(2026, 1, 9))
    have.remove("2026-01-04")
    with pytest.raises(GapError, match=r"2026-01-04 missing: run `marquee run 2026-01-04 --job"):
        require_days(
            have, first=date(2026, 1, 1), as_of=datetime(2026, 1, 10, tzinfo=UTC), asset="tokens"
        )


def test_days_after_the_bound_are_not_required() -> None:
    have = days_between(date(2026, 1, 1), date(2026, 1, 3))
    require_days(
        have, first=date(2026, 1, 1), as_of=datetime(2026, 1, 4, tzinfo=UTC), asset="tokens"
    )
