"""Reading users' histories: partial tokens of days, joined at the seams and cut at an instant."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.hashing import buckets
from training.codes import compacted, unified
from training.contracts import Histories, Int32, Int64
from training.errors import ContractError, NoDataError
from training.schema import EventSchema
from training.tokens.config import TokenizerConfig
from training.tokens.merge import Bool, run_ends, run_starts, run_sums
from training.tokens.partial import (
    BETWEEN_MEMBERS,
    CONFIG_FILE,
    SCHEMA_FILE,
    PartialTokens,
    bucket_file,
    day_of,
    open_bucket,
    read_bucket,
    read_config,
    read_schema,
    timeless_tokens,
)
from training.tokens.prefix import read_prefix


def read_histories(
    token_folders: Sequence[Path],
    *,
    prefix_folder: Path | None = None,
    as_of: datetime,
    users: Collection[str] | None = None,
    bucket: int | None = None,
) -> Histories:
    """Return the histories of all users with a token before ``as_of``, or of those in ``users``.

    With a ``bucket``, of its users alone: what is too much for memory is read bucket by bucket.

    The result is what merging all events before ``as_of`` at once would give, behind the prefixes
    that ended by then. Days at or after ``as_of`` are not read, so folders may reach beyond it;
    their order does not matter. Dictionaries hold only what the returned tokens use.

    Raises ContractError when ``as_of`` is no UTC midnight (a day's token cannot be cut exactly),
    when folders differ in schema or tokenizer, or when two hold the same day.
    """
    boundary = boundary_day(as_of)
    if not token_folders:
        raise NoDataError("histories: want at least one folder of tokens, got none")
    config, schema = common_layout(token_folders)
    parts = [no_tokens(schema)]
    if prefix_folder is not None:
        inside = (lambda ids: _is_in(ids, bucket, config)) if bucket is not None else None
        parts.append(read_prefix(prefix_folder, schema, as_of=as_of, users=users, inside=inside))
    wanted = _wanted_buckets(users, config)
    if bucket is not None:
        wanted = [(one, ids) for one, ids in wanted if one == bucket]
    by_day: dict[date, tuple[Path, list[PartialTokens]]] = {}
    for folder in token_folders:
        day, tokens = _read_day(folder, schema, wanted, before=boundary)
        if day is None:
            continue
        if day in by_day:
            raise ContractError(f"histories: {by_day[day][0]} and {folder} both hold {day}")
        by_day[day] = folder, tokens
    for day in sorted(by_day):
        parts.extend(by_day[day][1])
    return joined(parts, gap_us=config.merge_gap_us)


def _is_in(users: Sequence[str], bucket: int, config: TokenizerConfig) -> Bool:
    inside: Bool = buckets(users, config.num_buckets) == bucket
    return inside


def boundary_day(as_of: datetime) -> date:
    """Return the first day that is not visible at ``as_of``; raises ContractError amid a day."""
    if as_of.tzinfo is None:
        raise ContractError(f"histories as_of: want an aware UTC instant, got {as_of!r}")
    utc = as_of.astimezone(UTC)
    if utc.time() != time():
        raise ContractError(f"histories as_of: want the start of a UTC day, got {utc.isoformat()}")
    return utc.date()


def common_layout(folders: Sequence[Path]) -> tuple[TokenizerConfig, EventSchema]:
    """Return tokenizer and schema of all folders; raises ContractError where they differ.

    Formats may differ where they say the same.
    """
    first = folders[0]
    for name, read in ((CONFIG_FILE, read_config), (SCHEMA_FILE, read_schema)):
        expected = _layout_bytes(first / name)
        for other in folders[1:]:
            if _layout_bytes(other / name) != expected and read(other) != read(first):
                raise ContractError(
                    f"histories: {first} and {other} differ in {name}; "
                    "write the tokens of all days again with one schema and one tokenizer"
                )
    return read_config(first), read_schema(first)


def _layout_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ContractError(f"histories: {path} is missing, so these are no tokens") from error


def no_tokens(schema: EventSchema) -> PartialTokens:
    """Return the tokens of nobody."""
    nothing = pa.array([], pa.string())
    return timeless_tokens(
        nothing, np.zeros(0, dtype=np.int64), nothing, np.zeros(0, dtype=np.int32), schema
    )


def _wanted_buckets(
    users: Collection[str] | None, config: TokenizerConfig
) -> list[tuple[int, pa.StringArray | None]]:
    """Return the buckets to open and which of their users to take; None stands for all."""
    if users is None:
        return [(bucket, None) for bucket in range(config.num_buckets)]
    ids = sorted(set(users))
    bucket_of = buckets(ids, config.num_buckets)
    of_users = pa.array(ids, pa.string())
    return [
        (int(bucket), of_users.filter(pa.array(bucket_of == bucket)))
        for bucket in np.unique(bucket_of)
    ]


def _read_day(
    folder: Path,
    schema: EventSchema,
    wanted: Sequence[tuple[int, pa.StringArray | None]],
    *,
    before: date,
) -> tuple[date | None, list[PartialTokens]]:
    """Return the folder's day and tokens; None when the day is empty or not before ``before``."""
    day, tokens = None, []
    for bucket, users in wanted:
        rows = open_bucket(folder / bucket_file(bucket), is_proven=True)
        day = day_of(rows)
        if day is None or day >= before:
            return None, []
        tokens.append(read_bucket(rows, schema, users=users))
    return day, tokens


def joined(parts: Sequence[PartialTokens], *, gap_us: int) -> Histories:
    """Return one history per user from one or more parts that follow each other in time.

    ::

        rows, stably sorted by user   day 1 [A 0..5][B 6] | day 2 [B 9][C 20] | day 3 [C 21]
        runs                                [A 0..5][B 6            ..      9][C 20 ..   21]
    """
    user_ids, user_of_row = unified(
        [(part.user_ids, np.arange(len(part.user_ids), dtype=np.int32)) for part in parts]
    )
    user_code = np.repeat(user_of_row, np.concatenate([part.lengths for part in parts]))
    by_user = np.argsort(user_code, kind="stable")

    def column(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])[by_user]

    items, item_code = unified([(part.items, part.item_code) for part in parts])
    item_code, user_code = item_code[by_user], user_code[by_user]
    first_at, last_at = column("first_at"), column("last_at")
    is_same = (user_code[1:] == user_code[:-1]) & (item_code[1:] == item_code[:-1])
    starts = run_starts(is_same, first_at, last_at, gap_us=gap_us)

    used_users, user_code = compacted(user_ids, user_code[starts])
    used_items, item_code = compacted(items, item_code[starts])
    first_row = by_user[starts]
    return Histories(
        user_ids=used_users,
        offsets=np.cumsum(np.bincount(user_code + 1, minlength=len(used_users) + 1)),
        items=used_items,
        item_code=item_code,
        first_at=first_at[starts],
        last_at=last_at[run_ends(starts, len(first_at))],
        duration_ms=run_sums(column("duration_ms"), starts),
        num_events=run_sums(column("num_events"), starts),
        action_counts=run_sums(column("action_counts"), starts),
        request_categories=_coded([part.request_categories for part in parts], first_row),
        request_numbers=_columns([part.request_numbers for part in parts], first_row),
        request_sets={
            name: (tuple(tuple(text.split(BETWEEN_MEMBERS)) if text else () for text in sets), code)
            for name, (sets, code) in _coded(
                [part.request_sets for part in parts], first_row
            ).items()
        },
        request_instants=_columns([part.request_instants for part in parts], first_row),
    )


def _coded(
    parts: Sequence[Mapping[str, tuple[pa.StringArray, Int32]]], rows: Int64
) -> dict[str, tuple[tuple[str, ...], Int32]]:
    """Return coded request facets of rows, with the values that they use."""
    found = {}
    for name in parts[0]:
        values, codes = unified([part[name] for part in parts])
        found[name] = compacted(values, codes[rows])
    return found


def _columns(
    parts: Sequence[Mapping[str, npt.NDArray[Any]]], rows: Int64
) -> dict[str, npt.NDArray[Any]]:
    return {name: np.concatenate([part[name] for part in parts])[rows] for name in parts[0]}
