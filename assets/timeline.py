"""Days, months and instants: what a partition may see, and when it takes effect.

A day's partition is named by its UTC date, a month's by its first day. Both see the data strictly
before their end, and what they make takes effect from that end on. No code asks the wall clock what
it may see.
"""

from datetime import date, datetime, timedelta

from assets.errors import GapError
from lake.days import start_of

UNPARTITIONED = "history"
"""Partition key in the lake of an asset without partitions."""


def end_of_month(month: str) -> datetime:
    """Return the first instant after the month that starts on day ``month``."""
    first = date.fromisoformat(month)
    following = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
    return start_of(following)


def month_of(day: date) -> str:
    """Return the key of the month's partition that holds ``day``."""
    return day.replace(day=1).isoformat()


def days_between(first: date, last: date) -> list[str]:
    """Return the keys of all days from ``first`` to ``last``, both included."""
    return [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]


def day_before(day: str, num_days: int) -> str:
    """Return the key of the day that is so many days before ``day``."""
    return (date.fromisoformat(day) - timedelta(days=num_days)).isoformat()


def require_days(have: list[str], *, first: date, as_of: datetime, asset: str) -> None:
    """Raise GapError unless every day from ``first`` to the last one before ``as_of`` is there."""
    last = (as_of - timedelta(microseconds=1)).date()
    missing = sorted(set(days_between(first, last)) - set(have))
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if missing[3:] else "")
        raise GapError(
            f"{asset}: want every day from {first} to {last}, {shown} missing: run "
            f"`marquee run {missing[0]} --job ingestion` first"
        )
