"""Writing the tokens of one day, in the layout that ``partial`` reads; equal events, equal bytes."""

import json
from collections.abc import Mapping
from datetime import UTC, date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.hashing import buckets
from lake.lake import Written
from training.contracts import Int64
from training.errors import ContractError
from training.schema import EVENT_COLUMNS, EventSchema
from training.tokens.codes import sorted_codes
from training.tokens.config import FORMAT_VERSION, TokenizerConfig, json_bytes
from training.tokens.merge import (
    REQUEST_PREFIX,
    duration_facets,
    instants,
    merge,
    request_facets,
)
from training.tokens.partial import CONFIG_FILE, SCHEMA_FILE, bucket_file


def write_tokens(valid_folder: Path, config: TokenizerConfig, folder: Path) -> Written:
    """Write the partial tokens of the day in ``valid_folder``; return rows and figures.

    Raises ContractError when validation blocked the day, or when its events are not sorted, of
    one UTC day, and in the columns of their schema.
    """
    refuse_blocked(valid_folder)
    schema = EventSchema.from_json(json.loads((valid_folder / SCHEMA_FILE).read_bytes()))
    events = _read_events(valid_folder / "events.parquet", schema)
    day = _only_day(events)
    tokens = merge(events, schema, config)

    (folder / CONFIG_FILE).write_bytes(json_bytes(config.to_json()))
    (folder / SCHEMA_FILE).write_bytes(json_bytes(schema.to_json()))
    user_starts = _user_starts(tokens)
    bucket_of_user = buckets(tokens["user_id"].take(user_starts).to_pylist(), config.num_buckets)
    lengths = np.diff(np.append(user_starts, tokens.num_rows))
    bucket_of_token = np.repeat(bucket_of_user, lengths)
    for bucket in range(config.num_buckets):
        inside = tokens.filter(pa.array(bucket_of_token == bucket)).combine_chunks()
        metadata = {"format_version": FORMAT_VERSION, "day": day.isoformat() if day else ""}
        _write_file(folder / bucket_file(bucket), inside, metadata)
    return Written(tokens.num_rows, _figures(events, tokens, schema, num_users=len(user_starts)))


def refuse_blocked(valid_folder: Path) -> None:
    """Raise ContractError, naming the failed expectations, when validation blocked the events."""
    path = valid_folder / "validation.json"
    if not path.exists():
        return
    validation = json.loads(path.read_bytes())
    if validation["is_blocked"]:
        failed = ", ".join(validation.get("failed", [])) or "no expectation named"
        raise ContractError(
            f"validation blocked these events, so they become no tokens: {failed} ({path})"
        )


def _read_events(path: Path, schema: EventSchema) -> pa.Table:
    with pq.ParquetFile(path, memory_map=True) as file:
        got, want = file.schema_arrow, schema.arrow_schema
        if [(f.name, f.type) for f in got] != [(f.name, f.type) for f in want]:
            raise ContractError(f"valid events columns: want {want}, got {got} in {path}")
        fixed = [name for name, _ in EVENT_COLUMNS if name != "received_at"]
        facets = [*duration_facets(schema), *(f.name for f in request_facets(schema))]
        return file.read([*fixed, *facets]).combine_chunks()


def _only_day(events: pa.Table) -> date | None:
    if not events.num_rows:
        return None
    ends = pc.min_max(events["occurred_at"]).as_py()
    first, last = ends["min"].astimezone(UTC).date(), ends["max"].astimezone(UTC).date()
    if first != last:
        raise ContractError(f"valid events day: want one UTC day, got {first} to {last}")
    return first


def _user_starts(tokens: pa.Table) -> Int64:
    users = tokens["user_id"].combine_chunks()
    if not len(users):
        return np.zeros(0, dtype=np.int64)
    differs = pc.not_equal(users[1:], users[:-1]).to_numpy(zero_copy_only=False)
    return np.flatnonzero(np.concatenate(([True], differs)))


def _write_file(path: Path, tokens: pa.Table, metadata: Mapping[str, Any]) -> None:
    starts = _user_starts(tokens)
    fields, columns = [], []
    for field in tokens.schema:
        if field.name != "user_id":
            column = _stored(tokens[field.name].combine_chunks())
            nullable = field.name.startswith(REQUEST_PREFIX)
            fields.append(pa.field(field.name, column.type, nullable=nullable))
            columns.append(column)
    values = pa.StructArray.from_arrays(columns, fields=fields)
    offsets = pa.array(np.append(starts, tokens.num_rows).astype(np.int64))
    rows = pa.record_batch(
        [
            tokens["user_id"].take(pa.array(starts)).combine_chunks(),
            pa.LargeListArray.from_arrays(offsets, values),
        ],
        schema=pa.schema(
            [
                pa.field("user_id", pa.string(), nullable=False),
                pa.field("tokens", pa.large_list(values.type), nullable=False),
            ],
            metadata={name: str(value) for name, value in metadata.items()},
        ),
    )
    with pa.ipc.new_file(path, rows.schema, options=pa.ipc.IpcWriteOptions()) as writer:
        writer.write_batch(rows)


def _stored(column: pa.Array) -> pa.Array:
    """Return the column as it is stored, with one bit pattern for equal values."""
    if pa.types.is_string(column.type):
        values, codes = sorted_codes(column)
        return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), values)
    if pa.types.is_floating(column.type):  # what lies under a null would be anything
        missing = column.is_null().to_numpy(zero_copy_only=False)
        return pa.array(column.fill_null(0.0).to_numpy(), mask=missing)
    return column


def _figures(
    events: pa.Table, tokens: pa.Table, schema: EventSchema, *, num_users: int
) -> dict[str, Any]:
    count_of = {
        row["values"]: row["counts"] for row in pc.value_counts(events["action"]).to_pylist()
    }
    total = max(events.num_rows, 1)
    share = {action.name: count_of.get(action.name, 0) / total for action in schema.actions}
    kept = int(pc.sum(tokens["num_events"]).as_py() or 0)
    return {
        "events_in": events.num_rows,
        "events_kept": kept,
        "tokens_out": tokens.num_rows,
        "compression": kept / tokens.num_rows if tokens.num_rows else None,
        "users": num_users,
        "mean_gap_s": _mean_gap_s(events, schema),
        "action_share_kept": {name: share[name] for name in schema.token_actions},
        "action_share_dropped": {
            name: value for name, value in share.items() if name not in schema.token_actions
        },
    }


def _mean_gap_s(events: pa.Table, schema: EventSchema) -> float | None:
    """Return the mean time between neighbouring kept events of one user; None without any."""
    actions = pa.array(schema.token_actions, pa.string())
    kept = events.filter(pc.is_in(events["action"], value_set=actions))
    gaps = np.diff(instants(kept, "occurred_at"))
    inside = np.ones(len(gaps), dtype=bool)
    inside[_user_starts(kept)[1:] - 1] = False
    return float(gaps[inside].mean()) / 1e6 if inside.any() else None
