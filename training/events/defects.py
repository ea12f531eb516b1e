"""What goes wrong between an event and its row: lateness, disorder, repeats, nonsense.

Nonsense is added beside the genuine rows, never in their place: whatever the rates, the same
genuine events are there to be found.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.events.world import SECOND_US, Flags, Ints, WorldParameters, stream

_HOUR_US = 3_600 * SECOND_US
MAX_LATE_US = 72 * _HOUR_US


def draw_received(parameters: WorldParameters, occurred_us: Ints, day_index: int) -> Ints:
    """Return when each event arrives: within seconds, or up to 72 hours late."""
    rng = stream(parameters.seed, "arrival", day_index)
    size = len(occurred_us)
    delay = (rng.exponential(4.0, size) * SECOND_US).astype(np.int64) + 20_000
    late = rng.integers(_HOUR_US // 2, MAX_LATE_US, size)
    return occurred_us + np.where(rng.random(size) < parameters.late_rate, late, delay)


def add_defects(table: pa.Table, parameters: WorldParameters, day_index: int) -> pa.Table:
    """Return the rows as they arrive: genuine ones, repeats and nonsense, in order of arrival."""
    rng = stream(parameters.seed, "defects", day_index)
    size = table.num_rows
    malformed = _copies(table, _sample(rng, size, parameters.malformed_rate), rng, "m")
    unknown = _copies(table, _sample(rng, size, parameters.unknown_item_rate), rng, "x")
    gone = [f"t9{n:05d}" for n in rng.integers(0, 100_000, unknown.num_rows)]
    genuine = _drop_ids(table, rng.random(size) < parameters.missing_id_rate)
    repeats = genuine.take(_sample(rng, size, parameters.duplicate_rate))
    again = np.where(
        rng.random(repeats.num_rows) < 0.5, rng.integers(0, _HOUR_US, repeats.num_rows), 0
    )
    whole = pa.concat_tables(
        [
            genuine,
            _replace(repeats, "received_at", _instants(repeats, "received_at") + again),
            _break_rules(malformed),
            _replace(unknown, "item_id", gone),
        ]
    )
    return whole.take(_arrival_order(whole, parameters, rng))


def _sample(rng: np.random.Generator, size: int, rate: float) -> Ints:
    return np.flatnonzero(rng.random(size) < rate)


def _copies(table: pa.Table, rows: Ints, rng: np.random.Generator, mark: str) -> pa.Table:
    """Return copies of rows as events of their own."""
    copies = table.take(rows)
    ids = [f"{mark}{n:015x}" for n in rng.integers(0, 1 << 60, len(rows))]
    return _replace(copies, "event_id", ids)


def _drop_ids(table: pa.Table, is_missing: Flags) -> pa.Table:
    ids = table["event_id"].combine_chunks()
    return _replace(table, "event_id", pc.if_else(pa.array(is_missing), None, ids))


def _break_rules(table: pa.Table) -> pa.Table:
    """Break one rule per row, in turn."""
    breakers: tuple[Callable[[pa.Table], pa.Table], ...] = (
        lambda t: _replace(t, "user_id", [None] * t.num_rows),
        lambda t: _replace(t, "user_id", [""] * t.num_rows),
        lambda t: _replace(t, "item_id", [None] * t.num_rows),
        lambda t: _replace(t, "occurred_at", [None] * t.num_rows),
        lambda t: _replace(t, "action", ["plya"] * t.num_rows),
        lambda t: _replace(t, "watch_duration", [-1_000] * t.num_rows),
        lambda t: _replace(t, "position", [float("nan")] * t.num_rows),
        lambda t: _replace(t, "received_at", _instants(t, "occurred_at") - 2 * _HOUR_US),
    )
    turn = np.arange(table.num_rows) % len(breakers)
    return pa.concat_tables(
        [table.slice(0, 0)]
        + [breaker(table.filter(pa.array(turn == index))) for index, breaker in enumerate(breakers)]
    )


def _replace(table: pa.Table, name: str, values: Any) -> pa.Table:
    index = table.schema.get_field_index(name)
    field = table.schema.field(index)
    return table.set_column(index, field, pa.array(values, type=field.type, from_pandas=False))


def _instants(table: pa.Table, name: str) -> Ints:
    values: Ints = table[name].cast(pa.int64()).to_numpy()
    return values


def _arrival_order(table: pa.Table, parameters: WorldParameters, rng: np.random.Generator) -> Ints:
    arrival = _instants(table, "received_at")
    size = table.num_rows
    is_moved = rng.random(size) < parameters.out_of_order_rate
    shift = rng.integers(-2 * _HOUR_US, 2 * _HOUR_US, size)
    return np.argsort(np.where(is_moved, arrival + shift, arrival), kind="stable")
