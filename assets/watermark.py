"""When a day is complete and when it is final, and the clock that tells whether it may be taken in.

::

    day D          ──┤ its end ── watermark ─────────────── final ──────────►
    received in      D, taken in with D     D, taken in     the late table
                                            afterwards

Time in a replayed world is the source's, so every watermark has passed. In a live one a day goes on
filling until its watermark: before, its rows would be others at every look.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from assets.errors import IncompleteDayError
from assets.workspace import WorkspaceConfig
from lake.days import end_of

Clock = Callable[[], datetime]
"""Tells the time, UTC; it decides whether a day may be taken in, never what is in it."""


def wall_clock() -> datetime:
    """Return the time of this machine."""
    return datetime.now(UTC)


def watermark_of(config: WorkspaceConfig, day: str) -> datetime:
    """Return the instant before which enough of the day has arrived to work on it."""
    return end_of(day) + timedelta(hours=config.watermark_delay_h)


def final_at(config: WorkspaceConfig, day: str) -> datetime:
    """Return the instant from which on what arrives of the day is too late to belong to it."""
    lateness_h = max(config.allowed_lateness_h, config.watermark_delay_h)
    return end_of(day) + timedelta(hours=lateness_h)


def cut_of(config: WorkspaceConfig, day: str, *, as_of_day: str) -> datetime:
    """Return before which instant rows of the day were received that work on ``as_of_day`` knows.

    Such work knows what arrived before that day's watermark. A day whose lateness had not ended by
    then stays as it was when it was complete, so that it is read in two states and no more. A live
    source holds only what has arrived, so there the day is final from the start.
    """
    final = final_at(config, day)
    is_final = not config.is_replay or final <= watermark_of(config, as_of_day)
    return final if is_final else watermark_of(config, day)


def days_to_final(config: WorkspaceConfig) -> int:
    """Return how many days after a day its lateness has ended, seen at a watermark."""
    lateness_h = max(config.allowed_lateness_h - config.watermark_delay_h, 0)
    return -(-lateness_h // 24)


def is_complete(config: WorkspaceConfig, day: str, *, now: datetime) -> bool:
    """Return whether the day may be taken in."""
    return config.is_replay or watermark_of(config, day) <= now


def require_complete(config: WorkspaceConfig, day: str, *, now: datetime) -> None:
    """Raise IncompleteDayError, saying when to come back, unless the day is complete."""
    if not is_complete(config, day, now=now):
        raise IncompleteDayError(
            f"{day} is complete at {watermark_of(config, day):%Y-%m-%d %H:%M} UTC, "
            f"{config.watermark_delay_h} h after its end, and it is {now:%Y-%m-%d %H:%M} now: "
            "run it again then"
        )
