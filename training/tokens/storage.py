"""Writing the tokens of one day, as ``partial`` reads them; equal events give equal bytes."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lake.lake import Written
from training.buckets import BucketMap, one_by_one
from training.codes import Column, as_dictionary, coded
from training.contracts import Int64
from training.errors import ContractError
from training.events.parts import part_paths, read_part
from training.schema import EVENT_COLUMNS, EventSchema
from training.tokens.config import FORMAT_VERSION, TokenizerConfig, json_bytes
from training.tokens.merge import (
    REQUEST_PREFIX,
    duration_facets,
    instants,
    is_counted,
    merge,
    request_facets,
    whole,
)
from training.tokens.partial import CONFIG_FILE, SCHEMA_FILE, bucket_file


def write_tokens(
    valid_folder: Path,
    config: TokenizerConfig,
    folder: Path,
    *,
    each_bucket: BucketMap = one_by_one,
) -> Written:
    """Write the partial tokens of the day in ``valid_folder``; return rows and figures.

    Raises ContractError when validation blocked the day, or when its events are not by the
    tokenizer's buckets, sorted, of one UTC day, and in the columns of their schema.
    """
    refuse_blocked(valid_folder)
    events_schema = EventSchema.from_json(json.loads((valid_folder / SCHEMA_FILE).read_bytes()))
    schema = config.schema_of_tokens(events_schema)
    paths = part_paths(valid_folder)
    if len(paths) != config.num_buckets:
        raise ContractError(
            f"valid events buckets: want {config.num_buckets}, as the tokenizer has, got "
            f"{len(paths)} in {valid_folder}: tokens of other buckets need the events written again"
        )
    day = _only_day(paths)
    (folder / CONFIG_FILE).write_bytes(json_bytes(config.to_json()))
    (folder / SCHEMA_FILE).write_bytes(json_bytes(schema.to_json()))

    def write(bucket: int) -> TokenCounts:
        return write_bucket(
            paths[bucket], folder / bucket_file(bucket), schema=schema, config=config, day=day
        )

    counts = TokenCounts.total(each_bucket(write, config.num_buckets))
    return Written(counts.tokens_out, counts.figures(schema))


def write_bucket(
    events_file: Path,
    tokens_file: Path,
    *,
    schema: EventSchema,
    config: TokenizerConfig,
    day: date | None,
) -> "TokenCounts":
    """Write the tokens of one bucket's events."""
    events = _read_events(events_file, schema)
    tokens = merge(events, schema, config)
    _write_tokens(tokens_file, tokens, day=day)
    return TokenCounts.of(events, tokens, schema)


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
    got, want = pq.read_schema(path), schema.arrow_schema
    if [(f.name, f.type) for f in got] != [(f.name, f.type) for f in want]:
        raise ContractError(f"valid events columns: want {want}, got {got} in {path}")
    fixed = [name for name, _ in EVENT_COLUMNS if name != "received_at"]
    facets = [*duration_facets(schema), *(f.name for f in request_facets(schema))]
    return read_part(path, [*fixed, *facets])


def _only_day(paths: Iterable[Path]) -> date | None:
    """Return the day of all events, as the files' own statistics tell it; None without events."""
    ends = set[date]()
    for path in paths:
        about = pq.read_metadata(path)
        place = about.schema.names.index("occurred_at")
        for group in range(about.num_row_groups):
            found: Any = about.row_group(group).column(place).statistics
            if found is not None and found.has_min_max:
                ends |= {one.astimezone(UTC).date() for one in (found.min, found.max)}
    if len(ends) > 1:
        raise ContractError(f"valid events day: want one UTC day, got {min(ends)} to {max(ends)}")
    return next(iter(ends), None)


def _user_starts(rows: pa.Table) -> Int64:
    """Return the position of each user's first row."""
    _, users = coded(rows["user_id"])
    differs = users[1:] != users[:-1]
    return np.flatnonzero(np.concatenate(([True], differs))[: len(users)])


def _write_tokens(path: Path, tokens: pa.Table, *, day: date | None) -> None:
    rows = jagged(tokens).replace_schema_metadata(
        {"format_version": str(FORMAT_VERSION), "day": day.isoformat() if day else ""}
    )
    unfinished = path.with_name(f".{path.name}.unfinished")
    with pa.ipc.new_file(str(unfinished), rows.schema) as writer:  # uncompressed by default
        writer.write_batch(rows)
    unfinished.replace(path)


def jagged(tokens: pa.Table) -> pa.RecordBatch:
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
        [
            whole(tokens["user_id"].take(starts)).cast(pa.string()),
            pa.LargeListArray.from_arrays(offsets, values),
        ],
        schema=pa.schema(
            [
                pa.field("user_id", pa.string(), nullable=False),
                pa.field("tokens", pa.large_list(values.type), nullable=False),
            ]
        ),
    )


def _stored(column: Column) -> Column:
    """Return the column as it is stored: texts as a sorted dictionary."""
    is_text = pa.types.is_string(column.type) or pa.types.is_dictionary(column.type)
    return as_dictionary(column) if is_text else column


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """What tokenizing came to, of one bucket or of several."""

    events_in: int = 0
    events_kept: int = 0
    tokens_out: int = 0
    users: int = 0
    gaps: int = 0
    """Pairs of neighbouring kept events of one user."""
    gaps_us: int = 0
    """The time between them, summed."""
    by_action: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, events: pa.Table, tokens: pa.Table, schema: EventSchema) -> "TokenCounts":
        """Count the tokens of one bucket's events."""
        actions, codes = coded(events["action"])
        numbers = np.bincount(codes, minlength=len(actions)).tolist()
        is_kept = pa.array(is_counted(events, schema))
        kept = events.select(["user_id", "occurred_at"]).filter(is_kept)
        gaps = np.diff(instants(kept, "occurred_at"))
        inside = np.ones(len(gaps), dtype=bool)
        inside[_user_starts(kept)[1:] - 1] = False
        return cls(
            events_in=events.num_rows,
            events_kept=kept.num_rows,
            tokens_out=tokens.num_rows,
            users=len(_user_starts(tokens)),
            gaps=int(inside.sum()),
            gaps_us=int(gaps[inside].sum()),
            by_action=Counter(dict(zip(map(str, actions.to_pylist()), numbers, strict=True))),
        )

    @classmethod
    def total(cls, parts: Iterable["TokenCounts"]) -> "TokenCounts":
        """Add up the counts of buckets."""
        each = list(parts)
        by_action = Counter[str]()
        for one in each:
            by_action.update(one.by_action)
        numbers = {
            name: sum(getattr(one, name) for one in each)
            for name in ("events_in", "events_kept", "tokens_out", "users", "gaps", "gaps_us")
        }
        return cls(**numbers, by_action=by_action)

    def figures(self, schema: EventSchema) -> dict[str, Any]:
        """Return the figures of a day."""
        total = max(self.events_in, 1)
        share = {action.name: self.by_action[action.name] / total for action in schema.actions}
        return {
            "events_in": self.events_in,
            "events_kept": self.events_kept,
            "tokens_out": self.tokens_out,
            "compression": self.events_kept / self.tokens_out if self.tokens_out else None,
            "users": self.users,
            "mean_gap_s": self.gaps_us / self.gaps / 1e6 if self.gaps else None,
            "action_share_kept": {name: share[name] for name in schema.token_actions},
            "action_share_dropped": {
                name: value for name, value in share.items() if name not in schema.token_actions
            },
        }
