"""Logs of ten thousand events and more: a few drawn numbers, and rows that follow from them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.contracts import Histories
from training.schema import TIMESTAMP, Action, ActionRole, EventSchema, Facet, FacetKind, Phase
from training.tokens.config import TokenizerConfig

START = datetime(2026, 2, 1, tzinfo=UTC)
TICK_S = 600
TICKS_PER_DAY = 86_400 // TICK_S
ORDER = [("user_id", "ascending"), ("occurred_at", "ascending"), ("event_id", "ascending")]
ACTIONS = ("shown", "open", "play", "dislike")
SCHEMA = EventSchema(
    name="generated",
    actions=tuple(
        Action(name=name, role=role)
        for name, role in zip(
            ACTIONS,
            (ActionRole.IGNORED, ActionRole.CONTEXT, ActionRole.TARGET, ActionRole.NEGATIVE),
            strict=True,
        )
    ),
    facets=(
        Facet(name="device", kind=FacetKind.CATEGORICAL, phase=Phase.REQUEST),
        Facet(name="position", kind=FacetKind.NUMERIC, phase=Phase.REQUEST),
        Facet(name="watch_ms", kind=FacetKind.DURATION, phase=Phase.OUTCOME),
    ),
    exposure="shown",
)

NUM_CASES = [8, pytest.param(100, marks=pytest.mark.prove)]
"""Of every law; ``make prove`` runs the full figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogShape:
    """What a log looks like; equal shapes are equal logs."""

    seed: int
    num_events: int
    num_users: int
    num_items: int
    num_days: int
    stay: float
    """How likely a user's next event is on the item of the one before."""
    tie: float
    """How likely it is at the same instant."""


def shapes(*, num_days: int = 4, max_users: int = 3000) -> st.SearchStrategy[LogShape]:
    """Return shapes from one user with everything to users with a few events each."""
    return st.builds(
        LogShape,
        seed=st.integers(0, 2**32 - 1),
        num_events=st.integers(10_000, 14_000),
        num_users=st.sampled_from([n for n in (1, 7, 300, 1500, 3000) if n <= max_users]),
        num_items=st.sampled_from([1, 3, 40, 2000]),
        num_days=st.just(num_days),
        stay=st.sampled_from([0.0, 0.5, 0.9]),
        tie=st.sampled_from([0.0, 0.1, 0.5]),
    )


def tokenizers() -> st.SearchStrategy[TokenizerConfig]:
    """Return configurations whose gap neighbours meet, miss by a tick, and never miss."""
    return st.builds(
        TokenizerConfig,
        merge_gap_s=st.sampled_from([0, 3 * TICK_S, 86_400, 10**7]),
        num_buckets=st.sampled_from([1, 4]),
        dropped_actions=st.sampled_from([(), ("open",)]),
    )


def events_of(shape: LogShape) -> pa.Table:
    """Return the events, sorted; gaps of 0 to 4 ticks, nights, ties, absent facets."""
    draw = np.random.default_rng(shape.seed)
    num = shape.num_events
    user = np.sort((shape.num_users * draw.random(num) ** 2).astype(np.int64))  # some do more
    step = draw.choice([0, 1, 2, 3, 3, 4, TICKS_PER_DAY // 2], num)
    step[draw.random(num) < shape.tie] = 0
    is_first = np.concatenate(([True], user[1:] != user[:-1]))
    step[is_first] = draw.integers(0, TICKS_PER_DAY * shape.num_days, is_first.sum())
    ticks = np.cumsum(step)
    base = np.maximum.accumulate(np.where(is_first, ticks - step, 0))
    at = (ticks - base) % (TICKS_PER_DAY * shape.num_days)  # a long history comes round again
    moves = is_first | (draw.random(num) >= shape.stay)
    item = draw.integers(0, shape.num_items, num)[
        np.maximum.accumulate(np.where(moves, np.arange(num), 0))
    ]
    watch_ms = draw.integers(0, 10**7, num)
    occurred_at = pa.array(at * TICK_S * 1_000_000 + _us(START), pa.int64()).cast(TIMESTAMP)
    columns: dict[str, Any] = {
        "event_id": [f"e{one}" for one in draw.permutation(num)],
        "user_id": [f"user {one}" for one in user],
        "item_id": [f"item {one}" for one in item],
        "action": np.array(ACTIONS)[draw.choice(4, num, p=[0.2, 0.2, 0.5, 0.1])],
        "occurred_at": occurred_at,
        "received_at": occurred_at,
        "device": pa.array(draw.choice(["tv", "phone", "web"], num), mask=draw.random(num) < 0.2),
        "position": pa.array(draw.integers(0, 9, num) / 2, mask=draw.random(num) < 0.2),
        "watch_ms": pa.array(watch_ms, mask=draw.random(num) < 0.2),
    }
    return pa.table(columns, schema=SCHEMA.arrow_schema).sort_by(ORDER)


def _us(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def over_cases(**strategies: st.SearchStrategy[Any]) -> Callable[..., Any]:
    """Run a law over ``num_cases`` drawn cases: a quick number, and the full one for ``prove``."""

    def decorate(law: Callable[..., None]) -> Callable[..., None]:
        @pytest.mark.parametrize("num_cases", NUM_CASES)
        def test(num_cases: int) -> None:
            settings(
                max_examples=num_cases,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            )(given(**strategies)(law))()

        test.__name__ = law.__name__
        return test

    return decorate


def histories_of(tokens: pa.Table, *, most_tokens: int) -> Histories:
    """Return a table of tokens as histories, without the users that have more than so many."""
    rows = pl.DataFrame(tokens).with_columns(pl.len().over("user_id").alias("num"))
    rows = rows.filter(pl.col("num") <= most_tokens)
    items = rows["item_id"].unique().sort()
    devices = rows["request_device"].drop_nulls().unique().sort()
    lengths = rows.group_by("user_id", maintain_order=True).len()
    return Histories(
        user_ids=tuple(lengths["user_id"]),
        offsets=np.cumsum([0, *lengths["len"]]),
        items=tuple(items),
        item_code=_codes(rows["item_id"], items),
        first_at=rows["first_at"].cast(pl.Int64).to_numpy(),
        last_at=rows["last_at"].cast(pl.Int64).to_numpy(),
        duration_ms=rows["duration_ms"].to_numpy(),
        num_events=rows["num_events"].to_numpy(),
        action_counts=rows["action_counts"].to_numpy(),
        request_categories={"device": (tuple(devices), _codes(rows["request_device"], devices))},
        request_numbers={"position": rows["request_position"].fill_null(np.nan).to_numpy()},
    )


def _codes(column: pl.Series, values: pl.Series) -> np.ndarray:
    return column.replace_strict(
        values, range(len(values)), default=-1, return_dtype=pl.Int32
    ).to_numpy()
