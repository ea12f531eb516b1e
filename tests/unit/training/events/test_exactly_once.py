"""Exactly once in effect: how the same rows are delivered leaves no trace in a day.

Hypothesis draws how rows are made and how they are delivered, numpy draws the rows.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lake.days import end_of
from lake.digests import digest_folder
from training.events.artifacts import write_catalogue, write_quarantined, write_raw, write_valid
from training.events.mapping_file import mapping_from
from training.events.own_log import OwnLog
from training.rules import CONFLICT_RULE

DAY = date(2026, 3, 4)
CUT = end_of(DAY) + timedelta(hours=6)
DAY_MS, HOUR_MS = 86_400_000, 3_600_000
START_MS = int(datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC).timestamp()) * 1000
NUM_EVENTS = 10_000

MAPPING: dict[str, Any] = {
    "format_version": 1,
    "name": "listening",
    "events": {
        "files": [],
        "format": "parquet",
        "event_id": "id",
        "user_id": "user",
        "item_id": "track",
        "action": "what",
        "occurred_at": {"column": "played_at", "unit": "ms"},
        "received_at": {"column": "got_at", "unit": "ms"},
    },
    "actions": [
        {"name": "play", "role": "target", "values": ["play"]},
        {"name": "skip", "role": "negative", "values": ["skip"]},
    ],
    "facets": [
        {"name": "ms_played", "kind": "duration", "phase": "outcome", "unit": "ms"},
        {"name": "position", "kind": "numeric", "phase": "request"},
        {"name": "moods", "kind": "multi_categorical", "phase": "request", "separator": "|"},
    ],
    "catalogue": {"kind": "track"},
    "world": {"first_day": DAY.isoformat(), "last_day": DAY.isoformat(), "recipe": "tiny"},
}


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How a log came about, and how it was delivered."""

    seed: int
    num_users: int
    unnamed: float
    """Share of events without an id."""
    conflicting: float
    """Share of events that bear the id of another one, often another user's."""
    poisoned: float
    """Share of values that make no sense, per column."""
    most_copies: int
    num_files: int
    num_buckets: int


deliveries = st.builds(
    Delivery,
    seed=st.integers(0, 2**32 - 1),
    num_users=st.sampled_from([1, 7, 3_000]),
    unnamed=st.sampled_from([0.0, 0.1, 1.0]),
    conflicting=st.sampled_from([0.0, 0.05, 0.3]),
    poisoned=st.sampled_from([0.0, 0.01]),
    most_copies=st.integers(1, 5),
    num_files=st.integers(1, 6),
    num_buckets=st.sampled_from([1, 2, 4]),
)


def drawn(delivery: Delivery) -> pl.DataFrame:
    """Return the rows of a day and of the hours around it."""
    draw, size = np.random.default_rng(delivery.seed), NUM_EVENTS
    at = START_MS + draw.integers(-HOUR_MS, DAY_MS + HOUR_MS, size) // 1000 * 1000
    events = pl.DataFrame(
        {
            "id": _ids(draw, delivery),
            "user": draw.integers(0, delivery.num_users, size),
            "track": draw.integers(0, 50, size),
            "what": draw.choice(["play", "skip"], size),
            "played_at": at,
            "got_at": at + draw.integers(0, 5 * HOUR_MS, size),
            "ms_played": draw.integers(0, 4, size) * 60_000,
            "position": draw.choice([-0.0, 0.0, 1.0, 2.5], size),
            "tags": draw.choice(["calm|late", "late|calm", "calm", ""], size),
        }
    ).rename({"tags": "moods"})
    return events.with_columns(
        _poisoned(draw, delivery, "user", None),
        _poisoned(draw, delivery, "what", "dance"),
        _poisoned(draw, delivery, "got_at", None),
        _poisoned(draw, delivery, "ms_played", -1),
        _poisoned(draw, delivery, "position", float("inf")),
    )


def _ids(draw: np.random.Generator, delivery: Delivery) -> pl.Series:
    numbers = np.arange(NUM_EVENTS)
    is_shared = draw.random(NUM_EVENTS) < delivery.conflicting
    numbers[is_shared] = draw.integers(0, NUM_EVENTS // 10, is_shared.sum())
    ids = pl.Series("id", numbers).cast(pl.String)
    is_unnamed = pl.Series(draw.random(NUM_EVENTS) < delivery.unnamed)
    words = pl.Series(draw.choice(["", "null"], NUM_EVENTS)).replace("null", None)
    return ids.zip_with(~is_unnamed, words)


def _poisoned(draw: np.random.Generator, delivery: Delivery, name: str, value: Any) -> pl.Expr:
    is_bad = pl.Series(draw.random(NUM_EVENTS) < delivery.poisoned)
    return pl.when(is_bad).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)


def delivered(events: pl.DataFrame, delivery: Delivery, folder: Path) -> None:
    """Write the rows in any order, some of them again and later, over some files."""
    draw = np.random.default_rng(delivery.seed + 1)
    copies = draw.integers(1, delivery.most_copies + 1, events.height)
    rows = np.repeat(np.arange(events.height), copies)
    is_first = np.concatenate([[True], rows[1:] != rows[:-1]])
    delay = np.where(is_first, 0, draw.integers(0, 2, len(rows)) * HOUR_MS)
    again = events[rows].with_columns(got_at=pl.col("got_at") + pl.Series(delay))
    again = again[draw.permutation(again.height)]
    ends = np.sort(draw.integers(0, again.height + 1, delivery.num_files - 1)).tolist()
    folder.mkdir()
    for number, (begin, end) in enumerate(zip([0, *ends], [*ends, again.height], strict=True)):
        again[begin:end].write_parquet(folder / f"{number}.parquet")


def taken(logs: Path, root: Path, num_buckets: int) -> dict[str, Any]:
    """Take the day in; return the digests of what it came to, and its counts."""
    document = {**MAPPING, "events": {**MAPPING["events"], "files": [str(logs)]}}
    source = OwnLog(mapping_from(document))
    folders = [root / f"{logs.name}-{name}" for name in ("raw", "titles", "valid", "quarantined")]
    for folder in folders:
        folder.mkdir()
    raw, titles, valid, quarantined = folders
    raw_rows = write_raw(source, DAY, CUT, raw, num_buckets=num_buckets).rows
    write_catalogue(source, end_of(DAY), titles)
    kept = write_valid(raw, titles, DAY, valid)
    refused = write_quarantined(raw, titles, DAY, quarantined)
    assert raw_rows == kept.rows + refused.rows + kept.figures["duplicates"]
    ids = pl.read_parquet(valid / "*.parquet")["event_id"]
    assert ids.n_unique() == len(ids) == kept.rows
    digests = {one.name.partition("-")[2]: digest_folder(one) for one in (titles, valid)}
    return {**digests, "quarantined": digest_folder(quarantined), "rows": (kept.rows, refused.rows)}


def law(delivery: Delivery) -> None:
    events = drawn(delivery)
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "once").mkdir()
        events.write_parquet(root / "once" / "events.parquet")
        delivered(events, delivery, root / "anyhow")

        once = taken(root / "once", root, delivery.num_buckets)
        anyhow = taken(root / "anyhow", root, delivery.num_buckets)

    assert anyhow == once


CASES = settings(
    deadline=None,
    derandomize=True,
    # a case takes half a second, and shrinking takes hundreds
    phases=[Phase.explicit, Phase.generate],
)

test_any_delivery_of_the_same_rows_gives_the_same_day = settings(CASES, max_examples=10)(
    given(deliveries)(law)
)

test_any_of_many_deliveries_of_the_same_rows_gives_the_same_day = pytest.mark.prove(
    settings(CASES, max_examples=150)(given(deliveries)(law))
)


def test_the_generated_days_hold_what_the_law_is_about(tmp_path: Path) -> None:
    delivery = Delivery(
        seed=3,
        num_users=7,
        unnamed=0.1,
        conflicting=0.3,
        poisoned=0.01,
        most_copies=5,
        num_files=6,
        num_buckets=4,
    )
    delivered(drawn(delivery), delivery, tmp_path / "logs")
    files = list((tmp_path / "logs").glob("*.parquet"))
    rows = pl.concat([pl.read_parquet(one) for one in files])

    taken(tmp_path / "logs", tmp_path, delivery.num_buckets)

    assert len(files) == 6
    assert 25_000 < rows.height < 35_000
    by_rule = dict(
        pl.read_parquet(tmp_path / "logs-quarantined" / "*.parquet")["rule"].value_counts().rows()
    )
    assert by_rule[CONFLICT_RULE] > 500
    assert len(by_rule) >= 5
    shared = pl.read_parquet(tmp_path / "logs-raw" / "shared_ids.parquet")
    assert shared.height > 300  # ids whose rows lie in several buckets
