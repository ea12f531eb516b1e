"""Events to tokens: one fold, the same over events and over tokens.

An event is a token of one event. Folding replaces every run of neighbours of one user and one item,
each at most the merge gap after the one before, by their token::

    events  A@0 A@5 B@6 A@7 | A@9 A@99        gap 10
    tokens  [A 0..5] [B 6] [A 7..9] [A 99]

Because the gap is measured between neighbours and a token keeps its last instant, a token behaves
at a seam as its events would, so for any cut in time
``tokens(a ++ b) == join(tokens(a), tokens(b))``.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.hashing import keyed_hash
from training.codes import Column, coded, of_each_row, sorted_codes
from training.contracts import UNKNOWN_INSTANT, Int32, Int64
from training.errors import ContractError
from training.schema import TIMESTAMP, EventSchema, Facet, FacetKind, Phase
from training.tokens.config import TokenizerConfig

Bool = npt.NDArray[np.bool_]
REQUEST_PREFIX = "request_"
"""Columns of request facets are named so, hence no facet's name can meet a fixed column."""

_KEY = ("user_id", "occurred_at", "event_id")


def request_facets(schema: EventSchema) -> tuple[Facet, ...]:
    """Return the request facets that a token takes from its first event; durations are summed."""
    return tuple(f for f in schema.facets_of(Phase.REQUEST) if f.kind is not FacetKind.DURATION)


def duration_facets(schema: EventSchema) -> tuple[str, ...]:
    """Return the names of the facets whose sum is a token's duration."""
    return tuple(f.name for f in schema.facets if f.kind is FacetKind.DURATION)


def token_schema(schema: EventSchema) -> pa.Schema:
    """Return the columns of a flat table of tokens, by user and then in time order."""
    fixed: list[tuple[str, pa.DataType]] = [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("first_at", TIMESTAMP),
        ("last_at", TIMESTAMP),
        ("duration_ms", pa.int64()),
        ("num_events", pa.int32()),
        ("action_counts", pa.list_(pa.int32(), len(schema.token_actions))),
    ]
    facets = [(REQUEST_PREFIX + f.name, f.kind.arrow_type) for f in request_facets(schema)]
    return pa.schema([*fixed, *facets])


def merge(events: pa.Table, schema: EventSchema, config: TokenizerConfig) -> pa.Table:
    """Return the tokens (``token_schema``) of events sorted by user, instant and event id.

    Actions that are ignored, or that the configuration drops, are left out first, so they never
    part two events of a token. Raises ContractError when the events are not in that order, or hold
    nulls or unknown actions.
    """
    check_order(events)
    schema = config.schema_of_tokens(schema)
    return _folded(_single_event_tokens(events, schema), gap_us=config.merge_gap_us)


def join(earlier: pa.Table, later: pa.Table, config: TokenizerConfig) -> pa.Table:
    """Return the tokens of both tables' events, given only their tokens.

    Every event of ``later`` happened after every event of ``earlier``; raises ContractError when
    the tokens of a user show that this is not so.
    """
    both = pa.concat_tables([earlier, later]).combine_chunks()
    by_user = pc.sort_indices(both, sort_keys=[("user_id", "ascending")])  # stable
    both = both.take(by_user).combine_chunks()
    users = whole(both["user_id"])
    is_later = by_user.to_numpy() >= earlier.num_rows
    is_seam = _equals_next(both["user_id"]) & (is_later[1:] & ~is_later[:-1])
    wrong = is_seam & (instants(both, "first_at")[1:] <= instants(both, "last_at")[:-1])
    if wrong.any():
        raise ContractError(
            "join: the second table does not follow the first in time for user "
            f"{keyed_hash(users[int(wrong.argmax())].as_py())}"
        )
    return _folded(both, gap_us=config.merge_gap_us)


def run_starts(is_same: Bool, first_at: Int64, last_at: Int64, *, gap_us: int) -> Int64:
    """Return the position at which each run of mergeable neighbours begins, int64[runs].

    Args:
        is_same: bool[N-1], whether row i+1 has the user and the item of row i.
        first_at: int64[N] µs, time-ordered within a user.
        last_at: int64[N] µs; after ``UNKNOWN_INSTANT`` the gap is unknown and nothing merges.
        gap_us: the longest gap that still merges.
    """
    if not len(first_at):
        return np.zeros(0, dtype=np.int64)
    is_near = first_at[1:] - last_at[:-1] <= gap_us
    merges = is_same & is_near & (last_at[:-1] != UNKNOWN_INSTANT)
    return np.flatnonzero(np.concatenate(([True], ~merges)))


def run_ends(starts: Int64, num_rows: int) -> Int64:
    """Return the position of each run's last row."""
    return np.append(starts[1:], num_rows)[: len(starts)] - 1


def run_sums(values: npt.NDArray[Any], starts: Int64) -> npt.NDArray[Any]:
    """Return the sum of each run's rows, in the dtype of ``values``."""
    if not len(starts):
        return values[:0]
    return np.add.reduceat(values, starts, axis=0, dtype=values.dtype)


def check_order(events: pa.Table) -> None:
    """Raise ContractError unless the rows ascend strictly by user, instant and event id."""
    for name in ("event_id", "user_id", "item_id", "action", "occurred_at"):
        if events[name].null_count:
            raise ContractError(f"valid events {name}: {events[name].null_count} nulls")
    _, user = sorted_codes(events["user_id"])
    at = instants(events, "occurred_at")
    is_same_user, is_same_instant = user[1:] == user[:-1], at[1:] == at[:-1]
    ascends = (user[1:] > user[:-1]) | (is_same_user & (at[1:] > at[:-1]))
    # ids are texts: compared only where nothing else tells two rows apart
    tied = np.flatnonzero(is_same_user & is_same_instant)
    ids = whole(events["event_id"])
    below = pc.less(ids.take(pa.array(tied)), ids.take(pa.array(tied + 1)))
    ascends[tied] = below.to_numpy(zero_copy_only=False)
    if not ascends.all():
        row = int(ascends.argmin())
        name = keyed_hash(events["user_id"][row].as_py())
        raise ContractError(
            f"valid events order: want rows ascending by {', '.join(_KEY)} without repetition, "
            f"got row {row + 1} not after row {row} (user {name})"
        )


def instants(table: pa.Table, name: str) -> Int64:
    """Return a column of instants as int64 µs."""
    values: Int64 = whole(table[name]).cast(pa.int64()).to_numpy()
    return values


def is_counted(events: pa.Table, schema: EventSchema) -> Bool:
    """Return bool[N]: events whose action is part of tokens."""
    return _action_codes(events, schema) >= 0


def _action_codes(events: pa.Table, schema: EventSchema) -> Int32:
    """Return the position of each event's action in ``token_actions``, -1 for ignored ones.

    Raises ContractError for an action that is not in the schema.
    """
    values, codes = coded(events["action"])
    names = pa.array([action.name for action in schema.actions], pa.string())
    unknown = values.filter(pc.invert(pc.is_in(values, value_set=names)))
    if len(unknown):
        raise ContractError(f"valid events action: {unknown[0].as_py()!r} is not in the schema")
    counted = pa.array(schema.token_actions, pa.string())
    of_values: Column = pc.index_in(values, value_set=counted).fill_null(-1)
    return of_each_row(of_values.to_numpy(), codes, missing=-1)


def _single_event_tokens(events: pa.Table, schema: EventSchema) -> pa.Table:
    """Return one token per event that counts; texts are dictionaries if the events' are."""
    action_code = _action_codes(events, schema)
    is_kept = action_code >= 0
    kept = events.filter(pa.array(is_kept)).combine_chunks()
    one_hot = np.eye(len(schema.token_actions), dtype=np.int32)[action_code[is_kept]]
    duration = np.zeros(kept.num_rows, dtype=np.int64)
    for name in duration_facets(schema):
        duration += whole(kept[name]).fill_null(0).to_numpy()
    columns: list[Column] = [
        kept["user_id"],
        kept["item_id"],
        kept["occurred_at"],
        kept["occurred_at"],
        pa.array(duration),
        pa.array(np.ones(kept.num_rows, dtype=np.int32)),
        counts_array(one_hot),
        *(_missing_as_null(kept[facet.name]) for facet in request_facets(schema)),
    ]
    return pa.table(columns, names=token_schema(schema).names)


def _missing_as_null(column: Column) -> Column:
    if not pa.types.is_floating(column.type):
        return column
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)


def counts_array(counts: Int32) -> Column:
    """Return int32[T, A] as the column ``action_counts``."""
    flat = pa.array(np.ascontiguousarray(counts).reshape(-1), pa.int32())
    return pa.FixedSizeListArray.from_arrays(flat, counts.shape[1])


def counts_matrix(column: Column) -> Int32:
    """Return the column ``action_counts`` as int32[T, A]."""
    flat: Int32 = column.flatten().to_numpy()
    return flat.reshape(len(column), column.type.list_size)


def _folded(tokens: pa.Table, *, gap_us: int) -> pa.Table:
    is_same = _equals_next(tokens["user_id"]) & _equals_next(tokens["item_id"])
    last_at = instants(tokens, "last_at")
    starts = run_starts(is_same, instants(tokens, "first_at"), last_at, gap_us=gap_us)
    counts = counts_matrix(whole(tokens["action_counts"]))
    duration_ms = whole(tokens["duration_ms"]).to_numpy()
    num_events = whole(tokens["num_events"]).to_numpy()
    merged: dict[str, Column] = {
        "last_at": pa.array(last_at[run_ends(starts, tokens.num_rows)]).cast(TIMESTAMP),
        "duration_ms": pa.array(run_sums(duration_ms, starts)),
        "num_events": pa.array(run_sums(num_events, starts)),
        "action_counts": counts_array(run_sums(counts, starts)),
    }
    first = tokens.take(starts).combine_chunks()
    return pa.table(
        [merged.get(name, first[name]) for name in tokens.column_names], schema=tokens.schema
    )


def whole(column: Column) -> Column:
    """Return a table's column as one array."""
    return column.combine_chunks()


def _equals_next(column: Column) -> Bool:
    """Return bool[N-1]: whether each row's text equals the next one's."""
    _, codes = coded(column)
    is_equal: Bool = codes[1:] == codes[:-1]
    return is_equal
