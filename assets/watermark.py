"""When a day is complete: its watermark, and the clock that tells whether it has passed.

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
    """Return the instant before which everything of the day has arrived that belongs to it."""
    return end_of(day) + timedelta(hours=config.watermark_delay_h)


def is_complete(config: WorkspaceConfig, day: str, *, now: datetime) -> bool:
    """Return whether nothing more can come to the day."""
    return config.is_replay or watermark_of(config, day) <= now


def require_complete(config: WorkspaceConfig, day: str, *, now: datetime) -> None:
    """Raise IncompleteDayError, saying when to come back, unless the day is complete."""
    if not is_complete(config, day, now=now):
        raise IncompleteDayError(
            f"{day} is complete at {watermark_of(config, day):%Y-%m-%d %H:%M} UTC, "
            f"{config.watermark_delay_h} h after its end, and it is {now:%Y-%m-%d %H:%M} now: "
            "run it again then"
        )
