"""The laws of tokens over generated logs of ten thousand events and more each."""

from functools import reduce
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import strategies as st

from lake.digests import digest_folder
from tests.unit.training.tokens.generated_logs import (
    SCHEMA,
    START,
    LogShape,
    events_of,
    over_cases,
    shapes,
    tokenizers,
)
from training.events.artifacts import write_valid
from training.events.parts import write_parquet, write_raw_parts
from training.events.source import CATALOGUE_SCHEMA
from training.tokens.config import TokenizerConfig, json_bytes
from training.tokens.merge import join, merge
from training.tokens.storage import write_tokens


@over_cases(
    shape=shapes(num_days=1),
    config=tokenizers(),
    most_copies=st.integers(1, 5),
    num_files=st.integers(1, 40),
)
def test_order_repetition_and_split_of_the_input_change_no_byte_of_events_or_tokens(
    shape: LogShape, config: TokenizerConfig, most_copies: int, num_files: int
) -> None:
    events = events_of(shape)
    draw = np.random.default_rng(shape.seed)
    copies = draw.integers(1, most_copies + 1, events.num_rows)
    arrived = events.take(draw.permutation(np.repeat(np.arange(events.num_rows), copies)))
    bounds = np.sort(draw.integers(0, arrived.num_rows, num_files - 1))
    files = [
        arrived.slice(begin, end - begin) for begin, end in pairwise([0, *bounds, arrived.num_rows])
    ]

    with TemporaryDirectory() as folder:
        once = _digests([events], config, Path(folder) / "once")
        again = _digests(files, config, Path(folder) / "again")

    assert once == again


def _digests(files: list[pa.Table], config: TokenizerConfig, root: Path) -> dict[str, str]:
    """Return the digests of a day's valid events and tokens."""
    made = {name: root / name for name in ("raw", "catalogue", "valid", "tokens")}
    for folder in made.values():
        folder.mkdir(parents=True)
    raw = pa.concat_tables(files)
    write_raw_parts(raw, SCHEMA, made["raw"], num_buckets=config.num_buckets)
    (made["raw"] / "schema.json").write_bytes(json_bytes(SCHEMA.to_json()))
    items = pc.unique(raw["item_id"]).sort()
    titles: dict[str, Any] = {
        "item_id": items,
        "kind": ["film"] * len(items),
        "valid_from": [START] * len(items),
    }
    unknown = {
        field.name: pa.nulls(len(items), field.type)
        for field in CATALOGUE_SCHEMA
        if field.name not in titles
    }
    write_parquet(
        pa.table({**titles, **unknown}).select(CATALOGUE_SCHEMA.names).cast(CATALOGUE_SCHEMA),
        made["catalogue"] / "catalogue.parquet",
    )
    write_valid(made["raw"], made["catalogue"], START.date(), made["valid"])
    write_tokens(made["valid"], config, made["tokens"])
    return {name: digest_folder(made[name]) for name in ("valid", "tokens")}


@over_cases(
    shape=shapes(),
    config=tokenizers(),
    num_cuts=st.integers(1, 12),
    is_between=st.booleans(),
)
def test_tokens_of_parts_join_to_the_tokens_of_the_whole_for_any_cut(
    shape: LogShape, config: TokenizerConfig, num_cuts: int, is_between: bool
) -> None:
    events = events_of(shape)
    instants = np.sort(events["occurred_at"].cast(pa.int64()).to_numpy())
    # at an event, or between two
    inner = np.random.default_rng(shape.seed).choice(instants, num_cuts) + is_between
    bounds = [instants[0], *np.sort(inner), instants[-1] + 1]
    at = events["occurred_at"].cast(pa.int64())
    parts = [
        merge(events.filter(pc.and_(pc.greater_equal(at, a), pc.less(at, b))), SCHEMA, config)
        for a, b in pairwise(bounds)
    ]

    whole = merge(events, SCHEMA, config)

    assert reduce(lambda a, b: join(a, b, config), parts) == whole
    assert reduce(lambda b, a: join(a, b, config), reversed(parts)) == whole


@over_cases(shape=shapes(), config=tokenizers())
def test_durations_counts_and_ends_are_conserved(shape: LogShape, config: TokenizerConfig) -> None:
    events = events_of(shape)
    schema = config.schema_of_tokens(SCHEMA)

    tokens = pl.DataFrame(merge(events, SCHEMA, config))

    kept = pl.DataFrame(events).filter(pl.col("action").is_in(schema.token_actions))
    key = ("user_id", "item_id")
    want = kept.group_by(key).agg(
        duration_ms=pl.col("watch_ms").sum(),
        num_events=pl.len().cast(pl.Int64),
        first_at=pl.col("occurred_at").min(),
        last_at=pl.col("occurred_at").max(),
        **{name: (pl.col("action") == name).sum().cast(pl.Int64) for name in schema.token_actions},
    )
    got = tokens.group_by(key).agg(
        pl.col("duration_ms").sum(),
        pl.col("num_events").sum().cast(pl.Int64),
        pl.col("first_at").min(),
        pl.col("last_at").max(),
        **{
            name: pl.col("action_counts").arr.get(n).sum().cast(pl.Int64)
            for n, name in enumerate(schema.token_actions)
        },
    )
    assert got.sort(key).equals(want.sort(key))
    assert (tokens["action_counts"].arr.sum() == tokens["num_events"]).all()
    assert (tokens["first_at"] <= tokens["last_at"]).all()
