"""Writing the tokens of one day, as ``partial`` reads them; equal events give equal bytes."""

import json
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
    Column,
    duration_facets,
    instants,
    merge,
    request_facets,
    whole,
)
from training.tokens.partial import CONFIG_FILE, SCHEMA_FILE, bucket_file


def write_tokens(valid_folder: Path, config: TokenizerConfig, folder: Path) -> Written:
    """Write the partial tokens of the day in ``valid_folder``; return rows and figures.

    Raises ContractError when validation blocked the day, or when its events are not sorted, of
    one UTC day, and in the columns of their schema.
    """
    refuse_blocked(valid_folder)
    events_schema = EventSchema.from_json(json.loads((valid_folder / SCHEMA_FILE).read_bytes()))
    schema = config.schema_of_tokens(events_schema)
    events = _read_events(valid_folder / "events.parquet", schema)
    day = _only_day(events)
    tokens = merge(events, schema, config)

    (folder / CONFIG_FILE).write_bytes(json_bytes(config.to_json()))
    (folder / SCHEMA_FILE).write_bytes(json_bytes(schema.to_json()))
    user_starts = _user_starts(tokens)
    users: list[Any] = tokens["user_id"].take(user_starts).to_pylist()
    lengths = np.diff(user_starts, append=tokens.num_rows)
    bucket_of_token = np.repeat(buckets(users, config.num_buckets), lengths)
    for bucket in range(config.num_buckets):
        inside = tokens.filter(pa.array(bucket_of_token == bucket)).combine_chunks()
        _write_bucket(folder / bucket_file(bucket), inside, day=day)
    return Written(tokens.num_rows, _figures(events, tokens, schema, num_users=len(users)))


def refuse_blocked(valid_folder: Path) -> None:
    """Raise ContractError, naming the failed expectations, when validation blocked the events."""
    path = valid_folder / "validation.json"
    if not path.exists():
        return  # events that no orchestrator validated, such as a researcher's own
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
    ends: Any = pc.min_max(events["occurred_at"]).as_py()
    first: date = ends["min"].astimezone(UTC).date()
    last: date = ends["max"].astimezone(UTC).date()
    if first != last:
        raise ContractError(f"valid events day: want one UTC day, got {first} to {last}")
    return first


def _user_starts(rows: pa.Table) -> Int64:
    """Return the position of each user's first row."""
    users = whole(rows["user_id"])
    differs = pc.not_equal(users[1:], users[:-1]).to_numpy(zero_copy_only=False)
    return np.flatnonzero(np.concatenate(([True], differs))[: len(users)])


def _write_bucket(path: Path, tokens: pa.Table, *, day: date | None) -> None:
    rows = _jagged(tokens).replace_schema_metadata(
        {"format_version": str(FORMAT_VERSION), "day": day.isoformat() if day else ""}
    )
    with pa.ipc.new_file(str(path), rows.schema) as writer:  # uncompressed by default
        writer.write_batch(rows)


def _jagged(tokens: pa.Table) -> pa.RecordBatch:
    """Return one row per user of a flat table."""
    columns = {
        name: _stored(whole(tokens[name])) for name in tokens.column_names if name != "user_id"
    }
    fields = [
        pa.field(name, column.type, nullable=name.startswith(REQUEST_PREFIX))
        for name, column in columns.items()
    ]
    values = pa.StructArray.from_arrays(list(columns.values()), fields=fields)
    starts = _user_starts(tokens)
    offsets: Column = pa.array(np.append(starts, tokens.num_rows), pa.int64())
    return pa.record_batch(
        [whole(tokens["user_id"].take(starts)), pa.LargeListArray.from_arrays(offsets, values)],
        schema=pa.schema(
            [
                pa.field("user_id", pa.string(), nullable=False),
                pa.field("tokens", pa.large_list(values.type), nullable=False),
            ]
        ),
    )


def _stored(column: Column) -> Column:
    """Return the column as it is stored: strings as a sorted dictionary."""
    if pa.types.is_string(column.type):
        values, codes = sorted_codes(column)
        indices: Column = pa.array(codes, mask=codes < 0)
        return pa.DictionaryArray.from_arrays(indices, values)
    return column


def _figures(
    events: pa.Table, tokens: pa.Table, schema: EventSchema, *, num_users: int
) -> dict[str, Any]:
    value_counts: Column = pc.value_counts(whole(events["action"]))
    count_of = {row["values"]: row["counts"] for row in value_counts.to_pylist()}
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
