"""The laws of tokens, over generated logs."""

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.digests import digest_folder
from training.contracts import UNKNOWN_INSTANT, Histories
from training.rules import split_events
from training.schema import EventSchema
from training.tokens.config import TokenizerConfig
from training.tokens.histories import read_histories
from training.tokens.merge import join, merge
from training.tokens.storage import write_tokens

Build = Callable[..., pa.Table]
Row = dict[str, Any]

START = datetime(2026, 2, 1, tzinfo=UTC)
TICK = timedelta(minutes=10)
TICKS_PER_DAY = 144
CONFIG = TokenizerConfig(merge_gap_s=30 * 60, num_buckets=2)
CATALOGUE = pa.table({"item_id": ["A", "B", "C"], "valid_from": [START - timedelta(days=1)] * 3})
CASES = settings(max_examples=100, deadline=None, derandomize=True)


@st.composite
def logs(
    draw: st.DrawFn, *, min_size: int = 0, first_tick: int = 0, max_ticks: int = 10**6
) -> list[Row]:
    """Events of three users, dense around the gap of 3 ticks: ties and long runs are common."""
    steps = st.sampled_from([0, 0, 1, 1, 2, 2, 3, 3, 4, TICKS_PER_DAY - 12])
    event = st.tuples(
        steps,
        st.sampled_from(["ana", "ana", "ana", "ana", "bo", "émile"]),
        st.sampled_from(["A", "A", "A", "A", "B", "C"]),
        st.sampled_from(["play", "play", "open", "dislike", "shown"]),
        st.one_of(st.none(), st.integers(0, 5)),
        st.sampled_from([None, "tv", "phone"]),
        st.sampled_from([None, float("nan"), 1.0, 2.0]),
        st.sampled_from([None, [], ["x"], ["y", "x"]]),
    )
    size = draw(st.integers(min_size, 30))  # drawn first: lists alone are about 5 long
    drawn = draw(st.lists(event, min_size=size, max_size=size))
    event_ids = draw(st.permutations(range(len(drawn))))
    rows, tick = [], first_tick
    for event_id, (step, user, item, action, watch_ms, device, position, tags) in zip(
        event_ids, drawn, strict=True
    ):
        tick = min(tick + step, max_ticks)
        rows.append(
            {
                "event_id": f"e{event_id:02d}",
                "user_id": user,
                "item_id": item,
                "action": action,
                "occurred_at": START + tick * TICK,
                "watch_ms": watch_ms,
                "wait_ms": 100,
                "device": device,
                "position": position,
                "tags": tags,
                "asked_at": None if device is None else START,
            }
        )
    return rows


def plainly_merged(rows: list[Row], schema: EventSchema) -> list[Row]:
    """Tokens by one loop over sorted rows: what the vectorised merge must equal."""
    tokens: list[Row] = []
    for row in sorted(rows, key=lambda r: (r["user_id"], r["occurred_at"], r["event_id"])):
        if row["action"] not in schema.token_actions:
            continue
        last = tokens[-1] if tokens else None
        if not (
            last
            and (last["user_id"], last["item_id"]) == (row["user_id"], row["item_id"])
            and row["occurred_at"] - last["last_at"] <= timedelta(seconds=CONFIG.merge_gap_s)
        ):
            position = row["position"]
            last = {
                "user_id": row["user_id"],
                "item_id": row["item_id"],
                "first_at": row["occurred_at"],
                "last_at": row["occurred_at"],
                "duration_ms": 0,
                "num_events": 0,
                "action_counts": [0] * len(schema.token_actions),
                "request_device": row["device"],
                "request_tags": row["tags"],
                "request_position": None if position != position else position,  # noqa: PLR0124
                "request_asked_at": row["asked_at"],
            }
            tokens.append(last)
        last["last_at"] = row["occurred_at"]
        last["duration_ms"] += (row["watch_ms"] or 0) + row["wait_ms"]
        last["num_events"] += 1
        last["action_counts"][schema.token_actions.index(row["action"])] += 1
    return tokens


@CASES
@given(rows=logs())
def test_the_merge_is_a_fold_over_time_ordered_events(
    rows: list[Row], schema: EventSchema, table: Build
) -> None:
    assert merge(table(rows), schema, CONFIG).to_pylist() == plainly_merged(rows, schema)


@CASES
@given(
    rows=logs(min_size=1, max_ticks=TICKS_PER_DAY - 1),
    repeated=st.lists(st.integers(0, 29), max_size=10),
    chance=st.randoms(use_true_random=False),
    num_files=st.integers(1, 4),
    row_group_size=st.integers(1, 50),
)
def test_order_duplication_and_split_of_the_input_change_no_byte(
    *,
    rows: list[Row],
    repeated: list[int],
    chance: Any,
    num_files: int,
    row_group_size: int,
    schema: EventSchema,
    write_valid: Callable[..., Path],
) -> None:
    arrived = rows + [rows[i % len(rows)] for i in repeated]
    chance.shuffle(arrived)
    files = [arrived[number::num_files] for number in range(num_files)]

    def digest(parts: list[list[Row]], folder: Path, **layout: Any) -> str:
        raw = pa.concat_tables(
            pa.Table.from_pylist(
                [{**row, "received_at": row["occurred_at"]} for row in part],
                schema=schema.arrow_schema,
            )
            for part in parts
        )
        events = split_events(raw, schema=schema, day=START.date(), catalogue=CATALOGUE)
        write_valid(events.valid, folder / "valid", **layout)
        (folder / "tokens").mkdir()
        write_tokens(folder / "valid", CONFIG, folder / "tokens")
        return digest_folder(folder / "tokens")

    with TemporaryDirectory() as folder:
        one = digest([rows], Path(folder) / "one")
        other = digest(
            files, Path(folder) / "other",
            row_group_size=row_group_size, use_dictionary=False, compression="none",
        )  # fmt: skip
    assert one == other


@CASES
@given(
    rows=logs(), cut_rows=st.lists(st.integers(0, 29), min_size=1, max_size=6), late=st.booleans()
)
def test_tokens_of_parts_join_to_the_tokens_of_the_whole(
    *, rows: list[Row], cut_rows: list[int], late: bool, schema: EventSchema, table: Build
) -> None:
    events = table(rows)
    instants = [rows[i % len(rows)]["occurred_at"] for i in cut_rows if rows]  # at an event ...
    inner = [instant + late * TICK / 2 for instant in sorted(instants)]  # ... or between two
    cuts = [START, *inner, START + timedelta(10**4)]
    parts = [merge(_between(events, begin, end), schema, CONFIG) for begin, end in pairwise(cuts)]

    whole = merge(events, schema, CONFIG)

    assert reduce(lambda a, b: join(a, b, CONFIG), parts) == whole
    assert reduce(lambda b, a: join(a, b, CONFIG), reversed(parts)) == whole


@CASES
@given(rows=logs())
def test_durations_counts_and_ends_are_conserved(
    rows: list[Row], schema: EventSchema, table: Build
) -> None:
    kept = [row for row in rows if row["action"] in schema.token_actions]
    instants = defaultdict(list)
    for row in kept:
        instants[row["user_id"], row["item_id"]].append(row["occurred_at"])

    tokens = merge(table(rows), schema, CONFIG).to_pylist()

    counts = np.array([t["action_counts"] for t in tokens]).reshape(-1, 3).sum(axis=0)
    actions = Counter(row["action"] for row in kept)
    assert sum(t["duration_ms"] for t in tokens) == sum(
        (row["watch_ms"] or 0) + row["wait_ms"] for row in kept
    )
    assert dict(zip(schema.token_actions, counts.tolist(), strict=True)) == {
        name: actions[name] for name in schema.token_actions
    }
    assert sum(t["num_events"] for t in tokens) == len(kept)
    first, last = defaultdict(list), defaultdict(list)
    for token in tokens:
        assert sum(token["action_counts"]) == token["num_events"]
        first[token["user_id"], token["item_id"]].append(token["first_at"])
        last[token["user_id"], token["item_id"]].append(token["last_at"])
    assert {key: min(values) for key, values in first.items()} == {
        key: min(values) for key, values in instants.items()
    }
    assert {key: max(values) for key, values in last.items()} == {
        key: max(values) for key, values in instants.items()
    }


@CASES
@given(
    rows=logs(first_tick=TICKS_PER_DAY - 4),  # runs meet midnights
    shown_days=st.integers(0, 6),
    subset=st.sets(st.sampled_from(["ana", "bo"])),
)
def test_histories_are_the_merge_of_all_events_before_as_of_and_of_nothing_later(
    *,
    rows: list[Row],
    shown_days: int,
    subset: set[str],
    schema: EventSchema,
    table: Build,
    write_valid: Callable[..., Path],
) -> None:
    as_of = START + timedelta(days=shown_days)
    visible = [row for row in rows if row["occurred_at"] < as_of]
    events = table(rows)
    with TemporaryDirectory() as name:
        folders = []
        for day in sorted({row["occurred_at"].date() for row in rows} | {START.date()}):
            begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
            valid = write_valid(
                _between(events, begin, begin + timedelta(days=1)), Path(name) / f"valid-{day}"
            )
            folders.append(Path(name) / f"tokens-{day}")
            folders[-1].mkdir()
            write_tokens(valid, CONFIG, folders[-1])
        histories = read_histories(folders, as_of=as_of)
        some = read_histories(folders, as_of=as_of, users=subset)
        earlier = [f for f in folders if date.fromisoformat(f.name[7:]) < as_of.date()]
        alone = read_histories(earlier or folders[:1], as_of=as_of)

    want = plainly_merged(visible, schema)
    for token in want:  # a set has no order
        token["request_tags"] = token["request_tags"] and sorted(token["request_tags"])
    assert decoded(histories) == want
    assert decoded(some) == [token for token in want if token["user_id"] in subset]
    assert dictionaries(histories) == dictionaries(alone)
    assert set(histories.items) == {token["item_id"] for token in want}


def _between(events: pa.Table, begin: datetime, end: datetime) -> pa.Table:
    instant = events["occurred_at"]
    return events.filter(pc.and_(pc.less_equal(begin, instant), pc.less(instant, end)))


def dictionaries(histories: Histories) -> tuple[Any, ...]:
    values, _ = histories.request_categories["device"]
    sets, _ = histories.request_sets["tags"]
    return histories.user_ids, histories.items, values, sets


def decoded(histories: Histories) -> list[Row]:
    """One row per token, as ``plainly_merged`` gives."""
    devices, device_code = histories.request_categories["device"]
    position = histories.request_numbers["position"]
    sets, set_code = histories.request_sets["tags"]
    asked_at = histories.request_instants["asked_at"]
    epoch, us = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
    return [
        {
            "user_id": user,
            "item_id": histories.items[histories.item_code[t]],
            "first_at": epoch + int(histories.first_at[t]) * us,
            "last_at": epoch + int(histories.last_at[t]) * us,
            "duration_ms": histories.duration_ms[t],
            "num_events": histories.num_events[t],
            "action_counts": histories.action_counts[t].tolist(),
            "request_device": None if device_code[t] < 0 else devices[device_code[t]],
            "request_tags": None if set_code[t] < 0 else list(sets[set_code[t]]),
            "request_position": None if np.isnan(position[t]) else position[t],
            "request_asked_at": None
            if asked_at[t] == UNKNOWN_INSTANT
            else epoch + int(asked_at[t]) * us,
        }
        for user, begin, end in zip(
            histories.user_ids, histories.offsets[:-1], histories.offsets[1:], strict=True
        )
        for t in range(begin, end)
    ]
