"""What a tokenizer made of a log, in numbers: lengths, gaps and durations, for reports."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.codes import Column, coded, unified
from training.contracts import Float64, Int64
from training.schema import EventSchema
from training.tokens.merge import instants, is_counted
from training.tokens.partial import open_bucket

_NO_NUMBERS = np.zeros(0, dtype=np.int64)


def tokens_per_user(token_folders: Sequence[Path]) -> Int64:
    """Return how many tokens each user of the days has, int64[U]; values are not read.

    A session across midnight counts on both of its days.
    """
    counted = [
        pa.table([rows["user_id"], pc.list_value_length(rows["tokens"])], ["user", "tokens"])
        for folder in token_folders
        for rows in _buckets(folder)
    ]
    if not counted:
        return _NO_NUMBERS
    totals: Column = pa.concat_tables(counted).group_by("user").aggregate([("tokens", "sum")])
    of_users: Int64 = totals["tokens_sum"].to_numpy()
    return of_users


def events_by_item(folder: Path) -> tuple[pa.StringArray, Int64]:
    """Return the items of a day's tokens, sorted, and how many events each has, int64[I]."""
    parts, weights = [(pa.array([], pa.string()), np.zeros(0, dtype=np.int32))], [_NO_NUMBERS]
    for rows in _buckets(folder):
        tokens: Column = rows["tokens"]
        values = tokens.flatten()
        item = values.field("item_id")
        parts.append((item.dictionary, item.indices.to_numpy()))
        weights.append(values.field("num_events").to_numpy())
    items, code = unified(parts)
    counts = np.bincount(code, weights=np.concatenate(weights), minlength=len(items))
    return items, counts.astype(np.int64)  # exact: whole numbers below 2**53


def token_durations_s(folder: Path) -> Float64:
    """Return the summed duration of each of a day's tokens, in seconds."""
    values = [_NO_NUMBERS]
    for rows in _buckets(folder):
        tokens: Column = rows["tokens"]
        values.append(tokens.flatten().field("duration_ms").to_numpy())
    durations: Float64 = np.concatenate(values) / 1000.0
    return durations


def token_gaps_s(folder: Path) -> Float64:
    """Return the seconds from the end of each of a day's tokens to the user's next one."""
    gaps = [np.zeros(0)]
    for rows in _buckets(folder):
        tokens: Column = rows["tokens"]
        values = tokens.flatten()
        first_at, last_at = (
            values.field(name).cast(pa.int64()).to_numpy() for name in ("first_at", "last_at")
        )
        ends = np.cumsum(pc.list_value_length(tokens).to_numpy())
        is_inside = np.ones(max(len(values) - 1, 0), dtype=bool)
        is_inside[ends[:-1] - 1] = False
        gaps.append((first_at[1:] - last_at[:-1])[is_inside] / 1e6)
    return np.concatenate(gaps)


def repeat_gaps_s(events: pa.Table, schema: EventSchema) -> Float64:
    """Return the seconds between neighbouring events of one user on one item: what may merge.

    Args:
        events: rows of each user in time order.
        schema: as tokens see it; actions that are no part of tokens are left out first.
    """
    kept = events.filter(pa.array(is_counted(events, schema)))
    (_, user), (_, item) = (coded(kept[name]) for name in ("user_id", "item_id"))
    is_same = (user[1:] == user[:-1]) & (item[1:] == item[:-1])
    gaps: Float64 = np.diff(instants(kept, "occurred_at"))[is_same] / 1e6
    return gaps


def _buckets(folder: Path) -> list[pa.RecordBatch]:
    return [open_bucket(path) for path in sorted(folder.glob("tokens-*.arrow"))]
