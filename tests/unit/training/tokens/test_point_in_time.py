"""Ten thousand random probes: what is read as of an instant holds all before it, nothing after."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from lake.digests import digest_json
from tests.unit.training.tokens.generated_logs import START, TICK_S, LogShape, events_of
from tests.unit.training.tokens.stored_days import DAY, tokens_of_days
from training.contracts import Histories
from training.events.parts import write_parquet
from training.events.point_in_time import newest_rows
from training.events.source import CATALOGUE_SCHEMA
from training.features.catalogue import read_catalogue
from training.tokens.config import TokenizerConfig
from training.tokens.histories import read_histories
from training.tokens.newest import last_tokens, open_days
from training.tokens.outcomes import completion
from training.tokens.targets import microseconds

NUM_PROBES = 10_000
NUM_DAYS = 30
CONFIG = TokenizerConfig(merge_gap_s=3 * TICK_S, num_buckets=4)
SHAPE = LogShape(
    seed=11, num_events=60_000, num_users=500, num_items=60, num_days=NUM_DAYS, stay=0.8, tie=0.1
)
US = timedelta(microseconds=1)


@pytest.fixture(scope="module")
def events() -> pa.Table:
    return events_of(SHAPE)


@pytest.fixture(scope="module")
def folders(events: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return tokens_of_days(events, CONFIG, tmp_path_factory.mktemp("days"))


def test_histories_hold_all_before_the_instant_and_nothing_after(
    events: pa.Table, folders: list[Path]
) -> None:
    draw = np.random.default_rng(1)
    of_user = _events_by_user(events)
    opened = open_days(folders)
    names = [*of_user, "nobody"]
    days = draw.integers(0, NUM_DAYS + 2, NUM_PROBES)
    users = draw.integers(0, len(names), NUM_PROBES)
    histories = {day: read_histories(folders, as_of=START + day * DAY) for day in range(32)}
    rows = {day: {u: n for n, u in enumerate(one.user_ids)} for day, one in histories.items()}
    num_tokens = 0
    for probe, (day, user) in enumerate(zip(days.tolist(), users.tolist(), strict=True)):
        instant = microseconds(START + day * DAY)
        at, watch_ms = of_user.get(names[user], (np.zeros(0), np.zeros(0)))
        seen = int(np.searchsorted(at, instant, side="left"))

        read = _totals(histories[day], rows[day].get(names[user]))

        want = (
            seen,
            int(watch_ms[:seen].sum()),
            *((at[0], at[seen - 1]) if seen else (None, None)),
        )
        assert read == want, f"day {day} of {digest_json(names[user])}"
        if probe % 20 == 0:
            tail = last_tokens(opened, names[user], 10**6, as_of=START + day * DAY)
            assert _totals(tail, 0 if tail.num_users else None) == want
        num_tokens += seen
    assert num_tokens > 10 * NUM_PROBES


def _events_by_user(events: pa.Table) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the instants of each user's events that become tokens, and their durations."""
    kept = pl.DataFrame(events).filter(pl.col("action") != "shown")
    return {
        str(user): (
            rows["occurred_at"].cast(pl.Int64).to_numpy(),
            rows["watch_ms"].fill_null(0).to_numpy(),
        )
        for (user,), rows in kept.partition_by("user_id", as_dict=True).items()
    }


def _totals(histories: Histories, row: int | None) -> tuple[int, int, int | None, int | None]:
    """Return how many events a history holds, their duration, and the first and last instant."""
    if row is None:
        return 0, 0, None, None
    own = slice(histories.offsets[row], histories.offsets[row + 1])
    return (
        int(histories.num_events[own].sum()),
        int(histories.duration_ms[own].sum()),
        int(histories.first_at[own].min()),
        int(histories.last_at[own].max()),
    )


@pytest.fixture(scope="module")
def described() -> pa.Table:
    """Items whose runtime says which of their descriptions it is; with gaps, ends and launches."""
    draw = np.random.default_rng(5)
    rows = []
    for item in range(60):
        at = START + int(draw.integers(-5 * 86_400, 10 * 86_400)) * timedelta(seconds=1)
        for number in range(draw.integers(1, 6)):
            end = at + int(draw.integers(1, 8 * 86_400)) * timedelta(seconds=1)
            is_open = number == 4 and draw.random() < 0.5
            rows.append(
                {
                    "item_id": f"item {item}",
                    "kind": "film",
                    "runtime_s": 100 * item + number + 1,
                    "valid_from": at,
                    "valid_to": None if is_open else end,
                }
            )
            at = end + int(draw.integers(0, 2)) * timedelta(hours=7)
    return pa.Table.from_pylist(rows, schema=CATALOGUE_SCHEMA)


def test_a_token_is_joined_with_the_description_that_held_when_it_began(
    described: pa.Table, folders: list[Path]
) -> None:
    histories = read_histories(folders, as_of=START + NUM_DAYS * DAY)
    some = np.random.default_rng(2).choice(histories.num_tokens, NUM_PROBES)
    share = completion(histories, described)
    rows = _descriptions(described)
    found = 0
    for token in some.tolist():
        at = int(histories.first_at[token])
        holding = [
            runtime_s
            for runtime_s, begin, end in rows[histories.items[histories.item_code[token]]]
            if begin <= at < end
        ]
        assert len(holding) <= 1
        found += len(holding)
        want = histories.duration_ms[token] / 1000 / holding[0] if holding else np.nan
        np.testing.assert_equal(share[token], want)
    assert NUM_PROBES / 4 < found < NUM_PROBES


def test_a_catalogue_holds_what_was_known_before_the_instant(
    described: pa.Table, tmp_path: Path
) -> None:
    draw = np.random.default_rng(3)
    rows = _descriptions(described)
    num_instants = 170
    for _ in range(num_instants):
        as_of = START + int(draw.integers(-6 * 86_400_000_000, 40 * 86_400_000_000)) * US
        at = microseconds(as_of)
        known = newest_rows(described, as_of=as_of)
        folder = tmp_path / str(at)
        folder.mkdir()
        write_parquet(known, folder / "catalogue.parquet")

        read = read_catalogue(folder, as_of=as_of)

        for name in ("valid_from", "valid_to"):  # an end that lies ahead is not known yet
            assert all(one is None or one < as_of for one in known[name].to_pylist())
        begun = {
            item: max(row for row in each if row[1] < at)
            for item, each in rows.items()
            if any(begin < at for _, begin, _ in each)
        }
        assert dict(zip(read.item_ids, read.runtime_s.tolist(), strict=True)) == {
            item: float(runtime_s) for item, (runtime_s, _, _) in begun.items()
        }
        ends = dict(zip(read.item_ids, read.ended_by(as_of).tolist(), strict=True))
        assert ends == {item: end < at for item, (_, _, end) in begun.items()}
    assert num_instants * len(rows) >= NUM_PROBES


def _descriptions(catalogue: pa.Table) -> dict[str, list[tuple[int, int, int]]]:
    """Return each item's runtimes with their bounds in µs."""
    found: dict[str, list[tuple[int, int, int]]] = {}
    for row in catalogue.to_pylist():
        end = row["valid_to"]
        bounds = microseconds(row["valid_from"]), 2**62 if end is None else microseconds(end)
        found.setdefault(row["item_id"], []).append((row["runtime_s"], *bounds))
    return found
