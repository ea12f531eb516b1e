from datetime import UTC, date, datetime

import pytest

from lake.days import end_of, start_of


@pytest.mark.parametrize("day", ["2024-02-29", date(2024, 2, 29)])
def test_a_day_lasts_until_the_next_begins(day: date | str) -> None:
    assert start_of(day) == datetime(2024, 2, 29, tzinfo=UTC)
    assert end_of(day) == start_of("2024-03-01") == datetime(2024, 3, 1, tzinfo=UTC)


def test_what_is_no_day_is_refused() -> None:
    with pytest.raises(ValueError, match="day is out of range"):
        start_of("2026-02-30")
