"""What goes wrong between an event and its row: lateness, disorder, repeats, nonsense.

Nonsense is added beside the genuine rows, never in their place: whatever the rates, the same
genuine events are there to be found.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from training.events.coded import (
    MALFORMED,
    MISSING,
    NEVER,
    NONE,
    UNKNOWN_ACTION,
    UNKNOWN_ITEM,
    CodedEvents,
)
from training.events.world import SECOND_US, Ints, WorldParameters, stream

_HOUR_US = 3_600 * SECOND_US
MAX_LATE_US = 72 * _HOUR_US


def draw_received(parameters: WorldParameters, occurred_us: Ints, day_index: int) -> Ints:
    """Return when each event arrives: within seconds, or up to 72 hours late."""
    rng = stream(parameters.seed, "arrival", day_index)
    size = len(occurred_us)
    delay = (rng.exponential(4.0, size) * SECOND_US).astype(np.int64) + 20_000
    late = rng.integers(_HOUR_US // 2, MAX_LATE_US, size)
    return occurred_us + np.where(rng.random(size) < parameters.late_rate, late, delay)


def add_defects(
    events: CodedEvents, parameters: WorldParameters, day_index: int
) -> tuple[CodedEvents, list[str]]:
    """Return the rows as they arrive: genuine ones, repeats and nonsense, in order of arrival.

    With them come the ids of items that are in no catalogue, whose codes follow the titles'.
    """
    rng = stream(parameters.seed, "defects", day_index)
    size = len(events)
    malformed = _copies(events, _sample(rng, size, parameters.malformed_rate), rng, MALFORMED)
    unknown = _copies(events, _sample(rng, size, parameters.unknown_item_rate), rng, UNKNOWN_ITEM)
    gone = [f"t9{n:05d}" for n in rng.integers(0, 100_000, len(unknown))]
    beyond = np.arange(parameters.num_titles, parameters.num_titles + len(gone), dtype=np.int32)
    is_missing = rng.random(size) < parameters.missing_id_rate
    genuine = replace(events, origin=np.where(is_missing, np.int8(MISSING), events.origin))
    repeats = genuine.take(_sample(rng, size, parameters.duplicate_rate))
    again = np.where(rng.random(len(repeats)) < 0.5, rng.integers(0, _HOUR_US, len(repeats)), 0)
    whole = CodedEvents.concat(
        [
            genuine,
            replace(repeats, received_us=repeats.received_us + again),
            _break_rules(malformed, parameters),
            replace(unknown, title=beyond),
        ]
    )
    return whole.take(_arrival_order(whole, parameters, rng)), gone


def _sample(rng: np.random.Generator, size: int, rate: float) -> Ints:
    return np.flatnonzero(rng.random(size) < rate)


def _copies(events: CodedEvents, rows: Ints, rng: np.random.Generator, origin: int) -> CodedEvents:
    """Return copies of rows as events of their own."""
    return replace(
        events.take(rows),
        number=rng.integers(0, 1 << 60, len(rows)).astype(np.uint64),
        origin=np.full(len(rows), origin, dtype=np.int8),
    )


def _break_rules(events: CodedEvents, parameters: WorldParameters) -> CodedEvents:
    """Break one rule per row, in turn."""

    def all_are(code: int, like: str) -> Callable[[CodedEvents], CodedEvents]:
        return lambda some: replace(some, **{like: np.full_like(getattr(some, like), code)})

    breakers: tuple[Callable[[CodedEvents], CodedEvents], ...] = (
        all_are(NONE, "user"),
        all_are(parameters.num_users, "user"),
        all_are(NONE, "title"),
        all_are(NEVER, "occurred_us"),
        all_are(UNKNOWN_ACTION, "action"),
        all_are(-1_000, "watched_ms"),
        all_are(NONE, "position"),
        lambda some: replace(some, received_us=some.occurred_us - 2 * _HOUR_US),
    )
    turn = np.arange(len(events)) % len(breakers)
    return CodedEvents.concat(
        [breaker(events.take(np.flatnonzero(turn == n))) for n, breaker in enumerate(breakers)]
    )


def _arrival_order(
    events: CodedEvents, parameters: WorldParameters, rng: np.random.Generator
) -> Ints:
    size = len(events)
    is_moved = rng.random(size) < parameters.out_of_order_rate
    shift = rng.integers(-2 * _HOUR_US, 2 * _HOUR_US, size)
    return _stable_order(np.where(is_moved, events.received_us + shift, events.received_us))


def _stable_order(values: Ints) -> Ints:
    """Return ``np.argsort(values, kind="stable")``, in a sixth of the time where they are close.

    Numbers that end with their own index need no stable sort, and those sort faster.
    """
    index_bits = len(values).bit_length()
    if not len(values) or int(np.ptp(values)).bit_length() + index_bits > 63:
        return np.argsort(values, kind="stable")
    indexed = values - values.min() << index_bits | np.arange(len(values))
    indexed.sort()
    order: Ints = indexed & (1 << index_bits) - 1
    return order
