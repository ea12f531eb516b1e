import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.errors import NoDataError
from training.events.simulated import SimulatedWorld
from training.events.source import PREFIX_SCHEMA
from training.events.world import WorldParameters

ALL_ARRIVED = datetime(2100, 1, 1, tzinfo=UTC)
SMALL = WorldParameters(num_users=400, num_titles=200, num_days=12)
CLEAN = replace(
    SMALL,
    duplicate_rate=0.0,
    malformed_rate=0.0,
    unknown_item_rate=0.0,
    missing_id_rate=0.0,
    late_rate=0.0,
)


@pytest.fixture(scope="module")
def world() -> SimulatedWorld:
    """A small world with all defects."""
    return SimulatedWorld(SMALL)


def read(world: SimulatedWorld, index: int, before: datetime = ALL_ARRIVED) -> pa.Table:
    return world.read_day(world.first_day + timedelta(days=index), received_before=before)


def frame(table: pa.Table) -> pl.DataFrame:
    rows = pl.from_arrow(table)
    assert isinstance(rows, pl.DataFrame)
    return rows


def in_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def content(world: SimulatedWorld, index: int) -> str:
    """Return a digest of a day's values, whatever file format or library holds them."""
    rows = frame(read(world, index)).with_columns(pl.col(pl.Datetime).cast(pl.Int64))
    return hashlib.sha256(repr(rows.rows()).encode()).hexdigest()[:16]


def plays(world: SimulatedWorld, days: range) -> pl.DataFrame:
    return pl.concat([frame(read(world, day)) for day in days]).filter(pl.col("action") == "play")


def test_equal_parameters_give_equal_bytes_and_another_seed_does_not(world: SimulatedWorld) -> None:
    assert in_bytes(read(SimulatedWorld(SMALL), 3)) == in_bytes(read(world, 3))
    assert in_bytes(read(SimulatedWorld(replace(SMALL, seed=8)), 3)) != in_bytes(read(world, 3))


def test_days_are_what_they_have_always_been(world: SimulatedWorld) -> None:
    """The figures that the docs report, and every digest, follow from these rows."""
    busy = WorldParameters(
        num_users=150, num_titles=100, num_days=9, seed=3, sessions_per_user_day=2.0
    )
    broken = replace(SMALL, malformed_rate=0.2, duplicate_rate=0.3, missing_id_rate=0.3)

    assert content(world, 0) == "28f0b30834da3da2"
    assert content(world, 1) == "61bbb181cafa998e"
    assert content(world, 7) == "67392d43a4a3b077"
    assert content(SimulatedWorld(busy), 8) == "21768f1126242a39"
    assert content(SimulatedWorld(broken), 4) == "ba18018b1f062f95"


def test_a_day_is_the_same_alone_and_in_any_order() -> None:
    forward, backward = SimulatedWorld(SMALL), SimulatedWorld(SMALL)
    days = range(SMALL.num_days)

    in_order = [in_bytes(read(forward, day)) for day in days]
    reversed_order = [in_bytes(read(backward, day)) for day in reversed(days)][::-1]

    assert in_order == reversed_order
    assert in_bytes(read(SimulatedWorld(SMALL), 7)) == in_order[7]
    assert in_bytes(read(forward, 2)) == in_order[2]


def test_raw_columns_are_the_schema_of_the_world(world: SimulatedWorld) -> None:
    assert read(world, 0).schema.equals(world.schema.arrow_schema)


def test_events_occur_on_their_day() -> None:
    clean = SimulatedWorld(CLEAN)
    for day in range(CLEAN.num_days):
        occurred = frame(read(clean, day))["occurred_at"].dt.date()
        assert set(occurred) == {clean.first_day + timedelta(days=day)}


def test_event_ids_never_repeat_across_days() -> None:
    clean = SimulatedWorld(CLEAN)
    ids = pl.concat([frame(read(clean, day)) for day in range(CLEAN.num_days)])["event_id"]

    assert ids.n_unique() == len(ids)


def test_reading_later_only_adds_rows(world: SimulatedWorld) -> None:
    midnight = datetime(2026, 1, 14, tzinfo=UTC)
    cuts = [midnight + timedelta(hours=h) for h in (0, 6, 24, 73)]
    arrived = [frame(read(world, 2, cut)) for cut in cuts]
    everything = frame(read(world, 2))

    heights = [rows.height for rows in arrived]
    assert heights == sorted(heights)
    assert heights[0] < heights[1] < heights[2] < heights[3]
    for cut, rows in zip(cuts, arrived, strict=True):
        assert rows.equals(everything.filter(pl.col("received_at") < cut))


def test_days_outside_the_world_have_no_events(world: SimulatedWorld) -> None:
    for index in (-1, SMALL.num_days):
        with pytest.raises(NoDataError, match="it lasts from 2026-01-11 to 2026-01-22"):
            read(world, index)


def test_users_join_before_they_act(world: SimulatedWorld) -> None:
    joined = dict(zip(world._users.ids, world._users.joined, strict=True))
    for day in range(0, SMALL.num_days, 4):
        for user in frame(read(world, day))["user_id"].drop_nulls().unique():
            assert joined.get(user, -1) <= day


def test_every_genuine_item_is_in_the_catalogue_when_it_is_met() -> None:
    clean = SimulatedWorld(CLEAN)
    rows = frame(clean.catalogue(as_of=ALL_ARRIVED))
    spans = rows.group_by("item_id").agg(
        begins=pl.col("valid_from").min(),
        ends=pl.col("valid_to").sort_by("valid_from").last(),
    )
    for day in range(CLEAN.num_days):
        met = frame(read(clean, day)).join(spans, on="item_id", how="left")
        assert (met["begins"] <= met["occurred_at"]).all()
        assert (met["ends"].is_null() | (met["occurred_at"] < met["ends"])).all()
        assert met["begins"].null_count() == 0


def test_launched_titles_are_met_within_a_day() -> None:
    clean = SimulatedWorld(replace(CLEAN, num_users=1_500))
    launch = datetime(2026, 1, 19, tzinfo=UTC)
    rows = frame(clean.catalogue(as_of=ALL_ARRIVED)).filter(pl.col("valid_from") == launch)
    launched = set(rows["item_id"])

    met = set(frame(read(clean, 8))["item_id"]) & launched

    assert len(launched) >= 3
    assert len(met) >= 0.8 * len(launched)


def test_viewings_run_across_midnight() -> None:
    watched = plays(SimulatedWorld(replace(CLEAN, num_users=2_000)), range(4, 6))
    midnight = datetime(2026, 1, 16, tzinfo=UTC)
    around = watched.filter(
        pl.col("occurred_at").is_between(
            midnight - timedelta(hours=2), midnight + timedelta(hours=2)
        )
    )
    sides = around.group_by("user_id", "item_id").agg(
        (pl.col("occurred_at") < midnight).n_unique().alias("num_sides")
    )

    assert (sides["num_sides"] == 2).sum() > 3


def test_series_are_watched_on_over_several_days() -> None:
    watched = plays(SimulatedWorld(CLEAN), range(10))
    by_pair = watched.group_by("user_id", "item_id").agg(
        days=pl.col("occurred_at").dt.date().n_unique()
    )

    assert (by_pair["days"] >= 2).mean() > 0.08


def test_plays_have_a_heavy_tail_of_titles_and_users() -> None:
    watched = plays(SimulatedWorld(SMALL), range(10))

    for column in ("item_id", "user_id"):
        counts = watched[column].value_counts(sort=True)["count"]
        assert counts.head(len(counts) // 10).sum() > 0.3 * counts.sum()


def test_the_fingerprint_tells_days_and_worlds_apart(world: SimulatedWorld) -> None:
    first, second = world.first_day, world.first_day + timedelta(days=1)
    other = SimulatedWorld(replace(SMALL, seed=8))

    assert len({world.fingerprint(first), world.fingerprint(second), other.fingerprint(first)}) == 3
    assert world.fingerprint(first) == SimulatedWorld(SMALL).fingerprint(first)
    assert world.identity()["parameters"]["first_day"] == "2026-01-11"


def test_the_world_has_no_history_before_its_first_day(world: SimulatedWorld) -> None:
    assert world.history_prefix().equals(PREFIX_SCHEMA.empty_table())


def test_knowing_tastes_beats_knowing_what_is_popular() -> None:
    """Otherwise there would be nothing for a model to learn."""
    parameters = WorldParameters(num_users=1_500, num_titles=400, num_days=8)
    world = SimulatedWorld(parameters)
    before = plays(world, range(7)).group_by("item_id").len()
    day = world.first_day + timedelta(days=7)
    users, items, worth = world.truth.relevance(day)
    popularity = np.zeros(len(items))
    count = dict(before.iter_rows())
    popularity[:] = [count.get(item, 0) for item in items]

    targets = plays(world, range(7, 8)).unique(["user_id", "item_id"])
    targets = targets.filter(pl.col("item_id").is_in(items), pl.col("user_id").is_in(users))
    user = np.searchsorted(users, targets["user_id"].to_numpy())
    item = np.searchsorted(items, targets["item_id"].to_numpy())

    def hit_rate_at_10(scores: np.ndarray) -> float:
        rank = (scores > scores[np.arange(len(item)), item][:, None]).sum(axis=1)
        return float((rank < 10).mean())

    oracle = hit_rate_at_10(worth[user])
    popular = hit_rate_at_10(np.broadcast_to(popularity, (len(item), len(items))))
    assert oracle > 1.6 * popular > 0.1
