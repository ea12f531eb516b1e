"""Days in UTC: a day is the instants from its start, included, to its end, excluded."""

from datetime import UTC, date, datetime, timedelta


def start_of(day: date | str) -> datetime:
    """Return the first instant of a day, given as a date or by its ISO name."""
    first = date.fromisoformat(day) if isinstance(day, str) else day
    return datetime(first.year, first.month, first.day, tzinfo=UTC)


def end_of(day: date | str) -> datetime:
    """Return the first instant after a day: the exclusive bound of what the day sees."""
    return start_of(day) + timedelta(days=1)
