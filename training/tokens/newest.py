"""The newest tokens of one user, from days that are open and mostly unread.

::

    open_days      day 1 [.. .. ..]  day 2 [.. .. ..]  day 3 [.. .. ..]     maps, nothing read
    last_tokens                            (ana: 2)    <──   (ana: 3)       newest day first,
                                                                            until n + 1 are there

One token more than asked for is read: only the oldest one that was read may go on in a day before,
and it is dropped. Both the days that are looked at and the pages that are touched in each then
follow from n, whatever the length of the history; a day without the user costs a binary search.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lake.hashing import buckets
from training.contracts import Histories, Int32
from training.errors import ContractError, NoDataError
from training.schema import EventSchema
from training.tokens.config import TokenizerConfig
from training.tokens.histories import boundary_day, common_layout, joined, no_tokens
from training.tokens.partial import PartialTokens, bucket_file, day_of, open_bucket, read_newest


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDays:
    """Memory maps of the tokens of days, in order; days without tokens are left out."""

    config: TokenizerConfig
    schema: EventSchema
    days: tuple[date, ...]
    buckets: tuple[tuple[pa.RecordBatch, ...], ...]
    """Of each day, the rows of each bucket."""


def open_days(token_folders: Sequence[Path]) -> OpenDays:
    """Open the tokens of days, in any order, without reading any.

    Raises ContractError when folders differ in schema or tokenizer, or when two hold the same day.
    """
    if not token_folders:
        raise NoDataError("tokens: want at least one folder, got none")
    config, schema = common_layout(token_folders)
    opened: dict[date, tuple[pa.RecordBatch, ...]] = {}
    for folder in token_folders:
        rows = tuple(open_bucket(folder / bucket_file(one)) for one in range(config.num_buckets))
        day = day_of(rows[0])
        if day is None:
            continue
        if day in opened:
            raise ContractError(f"tokens: two folders hold {day}, one of them is {folder}")
        opened[day] = rows
    days = tuple(sorted(opened))
    return OpenDays(
        config=config, schema=schema, days=days, buckets=tuple(opened[day] for day in days)
    )


def last_tokens(opened: OpenDays, user: str, num_tokens: int, *, as_of: datetime) -> Histories:
    """Return the last ``num_tokens`` tokens of a user's history as of a UTC midnight.

    They are the tail of what ``read_histories`` gives without a prefix: sessions across midnight
    are one token. A user without tokens is in no row of the result.
    """
    if num_tokens < 1:
        raise ContractError(f"last tokens: want 1 or more, got {num_tokens}")
    bucket = int(buckets([user], opened.config.num_buckets)[0])
    num_days = bisect_left(opened.days, boundary_day(as_of))
    parts: list[PartialTokens] = []
    num_left = num_tokens + 1
    for rows in reversed(opened.buckets[:num_days]):
        if num_left <= 0:
            break
        part = read_newest(rows[bucket], opened.schema, user=user, at_most=num_tokens + 1)
        if part is not None:
            # a seam makes one token of two at the most
            num_left -= int(part.lengths[0]) - bool(parts)
            parts.append(part)
    whole = joined([no_tokens(opened.schema), *reversed(parts)], gap_us=opened.config.merge_gap_us)
    return _tail(whole, num_tokens)


def _tail(history: Histories, num_tokens: int) -> Histories:
    """Return the last tokens of the one history, with dictionaries of what they use."""
    if history.num_tokens <= num_tokens:
        return history
    newest = slice(history.num_tokens - num_tokens, None)
    items, item_code = _used(history.items, history.item_code[newest])
    requests = history.requests_at(newest)
    for kind in ("request_categories", "request_sets"):
        requests[kind] = {name: _used(*column) for name, column in requests[kind].items()}
    return replace(
        history,
        offsets=np.array([0, num_tokens]),
        items=items,
        item_code=item_code,
        **{
            name: getattr(history, name)[newest]
            for name in ("first_at", "last_at", "duration_ms", "num_events", "action_counts")
        },
        **requests,
    )


def _used(values: tuple[Any, ...], codes: Int32) -> tuple[tuple[Any, ...], Int32]:
    """Return the values that some code names, and codes into these."""
    named = np.unique(codes[codes >= 0])
    relabelled = np.full(len(values) + 1, -1, dtype=np.int32)
    relabelled[named] = np.arange(len(named), dtype=np.int32)
    return tuple(values[code] for code in named), relabelled[codes]
