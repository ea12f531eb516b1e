"""By bucket or as a whole: the same events are valid, rejected and dropped."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.atomic import replace_json
from lake.digests import digest_folder
from lake.hashing import buckets
from lake.user_rows import copy_without
from training.buckets import BucketMap, in_threads, one_by_one
from training.codes import plain
from training.errors import SourceError
from training.events.artifacts import (
    read_events,
    scan_events,
    write_parquet,
    write_quarantined,
    write_valid,
)
from training.events.parts import (
    narrow_shared_ids,
    part_file,
    part_paths,
    read_with_rivals,
    write_raw_parts,
)
from training.events.source import CATALOGUE_SCHEMA
from training.rules import SplitEvents, split_events
from training.schema import Action, ActionRole, EventSchema, Facet, FacetKind, Phase

DAY = date(2026, 1, 11)
NOON = datetime(2026, 1, 11, 12, tzinfo=UTC)
SCHEMA = EventSchema(
    name="tiny",
    actions=(Action(name="play", role=ActionRole.TARGET),),
    facets=(
        Facet(name="device", kind=FacetKind.CATEGORICAL, phase=Phase.REQUEST),
        Facet(name="moods", kind=FacetKind.MULTI_CATEGORICAL, phase=Phase.REQUEST),
        Facet(name="watched", kind=FacetKind.DURATION, phase=Phase.OUTCOME),
    ),
)
CATALOGUE = pa.Table.from_pylist(
    [{"item_id": "a", "kind": "movie", "valid_from": NOON - timedelta(days=9)}],
    schema=CATALOGUE_SCHEMA,
)
USERS = [f"user {number}" for number in range(12)]
KEY = [("event_id", "ascending"), ("user_id", "ascending"), ("received_at", "ascending")]

# few ids among many users: most ids occur in several buckets
rows = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from([f"e{number}" for number in range(9)] + [None]),
        "user_id": st.sampled_from([*USERS, "", None]),
        "item_id": st.sampled_from(["a", "a", "a", "nowhere"]),
        "action": st.just("play"),
        "occurred_at": st.sampled_from([NOON, NOON + timedelta(seconds=1)]),
        "received_at": st.sampled_from([NOON + timedelta(seconds=s) for s in (1, 2, 3)] + [None]),
        "device": st.sampled_from(["tv", None]),
        "moods": st.sampled_from([["calm", "sad"], ["sad", "calm"], None]),
        "watched": st.sampled_from([0, 5, -1]),
    }
)


def taken(raw: pa.Table, root: Path, each_bucket: BucketMap, *, num_buckets: int) -> dict[str, int]:
    for name in ("raw", "catalogue", "valid", "quarantined"):
        (root / name).mkdir()
    write_raw_parts(raw, SCHEMA, root / "raw", num_buckets=num_buckets)
    replace_json(root / "raw" / "schema.json", SCHEMA.to_json())
    write_parquet(CATALOGUE, root / "catalogue" / "catalogue.parquet")
    written = [
        partial(write, root / "raw", root / "catalogue", DAY, root / name, each_bucket=each_bucket)
        for write, name in ((write_valid, "valid"), (write_quarantined, "quarantined"))
    ]
    valid, quarantined = (write() for write in written)
    assert quarantined.rows == valid.figures["quarantined"]
    return {**quarantined.figures["by_rule"], "duplicates": valid.figures["duplicates"]}


def same(one: pa.Table, other: pa.Table) -> bool:
    return bool(one.sort_by(KEY).equals(other.sort_by(KEY)))


@settings(max_examples=25, deadline=None)
@given(log=st.lists(rows, min_size=1, max_size=40), num_buckets=st.sampled_from([1, 4, 16]))
def test_buckets_tell_rows_apart_as_the_whole_does(
    log: Sequence[dict[str, Any]], num_buckets: int
) -> None:
    anchor = {**log[0], "event_id": "anchor", "user_id": "ann", "item_id": "a", "watched": 0}
    sound = {**anchor, "received_at": NOON + timedelta(seconds=9)}
    raw = pa.Table.from_pylist([*log, sound], schema=SCHEMA.arrow_schema)
    whole: SplitEvents = split_events(raw, schema=SCHEMA, day=DAY, catalogue=CATALOGUE)

    with TemporaryDirectory() as root:
        counts = taken(raw, Path(root), one_by_one, num_buckets=num_buckets)
        _, valid = read_events(Path(root) / "valid")
        _, quarantined = read_events(Path(root) / "quarantined")

    assert same(valid, whole.valid)
    assert same(quarantined, whole.quarantined)
    assert counts == {**whole.counts_by_rule, "duplicates": whole.num_duplicates}


def log_of(num_rows: int) -> pa.Table:
    draw = np.random.default_rng(5)
    at = [NOON + timedelta(milliseconds=int(ms)) for ms in draw.integers(0, 10**7, num_rows)]
    return pa.table(
        {
            "event_id": [f"e{number}" for number in draw.integers(0, num_rows, num_rows)],
            "user_id": [f"u{number}" for number in draw.zipf(1.5, num_rows) % 90],
            "item_id": ["a"] * num_rows,
            "action": ["play"] * num_rows,
            "occurred_at": at,
            "received_at": at,
            "device": ["tv"] * num_rows,
            "moods": [["calm"]] * num_rows,
            "watched": draw.integers(0, 9, num_rows),
        },
        schema=SCHEMA.arrow_schema,
    )


def test_who_maps_the_buckets_changes_no_byte(tmp_path: Path) -> None:
    for name, each_bucket in (("one", one_by_one), ("threads", in_threads(4))):
        (tmp_path / name).mkdir()
        taken(log_of(5_000), tmp_path / name, each_bucket, num_buckets=8)

    for name in ("valid", "quarantined"):
        assert digest_folder(tmp_path / "one" / name) == digest_folder(tmp_path / "threads" / name)


def test_a_users_events_lie_in_the_users_bucket_in_order(tmp_path: Path) -> None:
    taken(log_of(2_000), tmp_path, one_by_one, num_buckets=4)

    _, events = scan_events(tmp_path / "valid")
    assert events.collect().height == read_events(tmp_path / "valid")[1].num_rows
    for bucket, path in enumerate(part_paths(tmp_path / "valid")):
        part = pq.read_table(path)
        assert part.schema.equals(SCHEMA.arrow_schema)
        assert set(buckets(pc.unique(part["user_id"]).to_pylist(), 4)) == {bucket}
        key = [(row["user_id"], row["occurred_at"], row["event_id"]) for row in part.to_pylist()]
        assert key == sorted(key)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    taken(log_of(100), tmp_path, one_by_one, num_buckets=4)
    (tmp_path / "valid" / part_file(2)).unlink()

    with pytest.raises(SourceError, match=r"events-0002\.parquet is missing"):
        read_events(tmp_path / "valid")


def test_a_day_from_before_there_were_buckets_is_read_as_one(tmp_path: Path) -> None:
    log = log_of(100)
    pq.write_table(log, tmp_path / "events.parquet")

    read, num_own = read_with_rivals(tmp_path, SCHEMA, 0)

    assert len(part_paths(tmp_path)) == 1
    assert (plain(read), num_own) == (log, 100)


@settings(max_examples=25, deadline=None)
@given(st.lists(rows, max_size=30), st.sets(st.sampled_from(USERS), min_size=1))
def test_raw_events_without_users_are_those_that_never_had_them(
    events: list[dict[str, Any]], gone: set[str]
) -> None:
    left = [row for row in events if row["user_id"] not in gone]
    with TemporaryDirectory() as root:
        both, without, copied = (Path(root) / name for name in ("both", "without", "copied"))
        for folder, kept in ((both, events), (without, left)):
            folder.mkdir()
            table = pa.Table.from_pylist(kept, schema=SCHEMA.arrow_schema)
            write_raw_parts(table, SCHEMA, folder, num_buckets=4)
        copied.mkdir()
        assert copy_without(both, gone, copied) == len(events) - len(left)
        narrow_shared_ids(copied, SCHEMA)
        assert digest_folder(copied) == digest_folder(without)


def test_a_bucket_reads_others_only_for_ids_that_it_has(tmp_path: Path) -> None:
    users = ["ann", "bob", "cy", "dan", "eve", "fay", "gus", "hal"]
    events = log_of(len(users)).set_column(1, "user_id", pa.array(users))
    ids = [f"e{number}" for number in range(len(users))]
    ids[1] = ids[0]  # one id of two users
    raw = events.set_column(0, "event_id", pa.array(ids))
    write_raw_parts(raw, SCHEMA, tmp_path, num_buckets=8)

    bucket_of = dict(zip(users, buckets(users, 8).tolist(), strict=True))
    assert bucket_of["ann"] != bucket_of["bob"]
    num_foreign = {}
    for bucket in range(8):
        rows, num_own = read_with_rivals(tmp_path, SCHEMA, bucket)
        num_foreign[bucket] = rows.num_rows - num_own
    assert {bucket for bucket, foreign in num_foreign.items() if foreign} == {
        bucket_of["ann"],
        bucket_of["bob"],
    }
