"""What turns raw events into training-ready histories: ours, and what one would write instead.

Every function gets the input and an empty folder, and returns the number of histories. Those that
run in this environment; libraries of peers have their own (``peers.py``).
"""

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa

from benchmarks.tokens.inputs import Input
from lake.days import end_of
from training.buckets import in_threads
from training.events.artifacts import (
    read_catalogue,
    read_schema,
    write_split,
)
from training.events.parts import part_paths, read_part
from training.schema import EventSchema
from training.tokens.config import TokenizerConfig
from training.tokens.histories import read_histories
from training.tokens.merge import duration_facets, request_facets
from training.tokens.storage import write_tokens
from training.tokens.whole_log import histories_of

GAP_S = TokenizerConfig().merge_gap_s
THREADS = in_threads(os.cpu_count() or 1)
NUM_BUCKETS = TokenizerConfig().num_buckets


def marquee(data: Input, folder: Path) -> int:
    """Ours: every rule judged, the rejects kept, tokens by day and bucket, histories by bucket."""
    token_folders = []
    for day in data.days:
        valid, rejected, tokens = (
            folder / what / day.isoformat() for what in ("valid", "quarantined", "tokens")
        )
        for each in (valid, rejected, tokens):
            each.mkdir(parents=True)
        folders = valid, rejected
        write_split(data.raw(day), data.catalogue, day, folders, each_bucket=THREADS)
        write_tokens(valid, TokenizerConfig(), tokens, each_bucket=THREADS)
        token_folders.append(tokens)
    as_of = end_of(data.days[-1].isoformat())
    return sum(
        read_histories(token_folders, as_of=as_of, bucket=bucket).num_users
        for bucket in range(NUM_BUCKETS)
    )


def marquee_in_memory(data: Input, _: Path) -> int:
    """Ours over a log that fits into memory, as for studies: no files, nothing else less."""
    raw = [table for day in data.parts for table in map(read_part, part_paths(data.raw(day)))]
    histories = histories_of(
        pa.concat_tables(raw),
        schema=read_schema(data.raw(data.parts[0])),
        catalogue=read_catalogue(data.catalogue),
        config=TokenizerConfig(),
    )
    return histories.num_users


def polars(data: Input, folder: Path) -> int:
    """A careful Polars pipeline for the same files: deduplicated, valid, sorted, merged, facets."""
    items = pl.read_parquet(data.catalogue / "catalogue.parquet", columns=["item_id"]).unique()
    for day in data.parts:
        events = (
            pl.scan_parquet(data.raw(day) / "events-*.parquet")
            .with_columns(
                event_id=pl.coalesce(
                    "event_id", pl.struct(pl.all().exclude("received_at")).hash().cast(pl.String)
                )
            )
            .unique("event_id", keep="any")
            .filter(
                pl.col("user_id").str.len_bytes() > 0,
                pl.col("occurred_at").dt.date() == day if day else pl.lit(value=True),
                pl.col("occurred_at") <= pl.col("received_at") + pl.duration(minutes=5),
            )
            .join(items.lazy(), on="item_id", how="semi")
            .sort("user_id", "occurred_at", "event_id")
            .collect()
        )
        events.write_parquet(_file(folder / "valid", f"{day}.parquet"))
        tokens = _merged(events, read_schema(data.raw(day)))
        by_bucket = tokens.with_columns(bucket=pl.col("user_id").hash(7) % NUM_BUCKETS)
        for (bucket,), rows in by_bucket.partition_by("bucket", as_dict=True).items():
            jagged = rows.drop("bucket").group_by("user_id", maintain_order=True).all()
            jagged.write_ipc(_file(folder / "tokens", f"{day}-{bucket}.arrow"))
    histories = (
        pl.scan_ipc(folder / "tokens" / "*.arrow")
        .group_by("user_id")
        .agg(pl.all().exclude("user_id").explode())
        .collect()
    )
    return histories.height


def _merged(events: pl.DataFrame, schema: EventSchema) -> pl.DataFrame:
    request = [facet.name for facet in request_facets(schema)]
    is_next = (
        (pl.col("user_id") == pl.col("user_id").shift())
        & (pl.col("item_id") == pl.col("item_id").shift())
        & (pl.col("occurred_at") - pl.col("occurred_at").shift() <= pl.duration(seconds=GAP_S))
    )
    return (
        events.lazy()
        .filter(pl.col("action").is_in(schema.token_actions))
        .with_columns(token=(~is_next.fill_null(value=False)).cum_sum())
        .group_by("token", maintain_order=True)
        .agg(
            pl.col("user_id", "item_id", *request).first(),
            pl.col("occurred_at").first().alias("first_at"),
            pl.col("occurred_at").last().alias("last_at"),
            pl.col(duration_facets(schema)).sum(),
            pl.len().alias("num_events"),
            *((pl.col("action") == action).sum().alias(action) for action in schema.token_actions),
        )
        .drop("token")
        .collect()
    )


def pandas(data: Input, _: Path) -> int:
    """A plain pandas groupby: repeats dropped, sorted, items of a user in a list; no facets."""
    columns = ["event_id", "user_id", "item_id", "action", "occurred_at"]
    events = pd.concat(
        pd.read_parquet(path, columns=columns)
        for day in data.parts
        for path in part_paths(data.raw(day))
    )
    events = events.dropna(subset=columns[1:])
    events = events[events["event_id"].isna() | ~events["event_id"].duplicated()]
    actions = read_schema(data.raw(data.parts[0])).token_actions
    events = events[events["action"].isin(actions)]
    ordered = events.sort_values(["user_id", "occurred_at", "event_id"])
    return len(ordered.groupby("user_id", sort=False)["item_id"].agg(list))


def scan_polars(data: Input, _: Path) -> int:
    """The limit: the same columns read and nothing done with them, by Polars."""
    files = [path for day in data.parts for path in part_paths(data.raw(day))]
    names = pl.scan_parquet(files[0]).collect_schema().names()
    read = pl.scan_parquet(files).select(pl.col(names).null_count()).collect(engine="streaming")
    return read.height


def _file(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


CONTENDERS: dict[str, Callable[[Input, Path], int]] = {
    "marquee": marquee,
    "marquee_in_memory": marquee_in_memory,
    "polars": polars,
    "pandas": pandas,
    "scan_polars": scan_polars,
}
