"""A small log of events that the tests of this folder share."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from training.schema import TIMESTAMP, Action, ActionRole, EventSchema, Facet, FacetKind, Phase

DAY = date(2026, 1, 3)


@pytest.fixture(scope="session")
def schema() -> EventSchema:
    return EventSchema(
        name="films",
        exposure="impression",
        actions=(
            Action(name="play", role=ActionRole.TARGET),
            Action(name="dislike", role=ActionRole.NEGATIVE),
            Action(name="impression", role=ActionRole.IGNORED),
        ),
        facets=(
            Facet(name="device", kind=FacetKind.CATEGORICAL, phase=Phase.REQUEST),
            Facet(name="position", kind=FacetKind.NUMERIC, phase=Phase.REQUEST),
            Facet(name="genres", kind=FacetKind.MULTI_CATEGORICAL, phase=Phase.REQUEST),
            Facet(name="watch_ms", kind=FacetKind.DURATION, phase=Phase.OUTCOME),
        ),
    )


def _events(schema: EventSchema, *, rows: int = 200, day: date = DAY) -> pa.Table:
    draw = np.random.default_rng(7)
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1e6)
    at = pa.array(np.sort(draw.integers(0, 86_400_000_000, rows)) + start, pa.int64())
    columns: Mapping[str, Any] = {
        "event_id": [f"e{row}" for row in range(rows)],
        "user_id": [f"u{row % 20}" for row in range(rows)],
        "item_id": [f"i{row % 50}" for row in range(rows)],
        "action": ["impression" if row % 3 else "play" for row in range(rows)],
        "occurred_at": at.cast(TIMESTAMP),
        "received_at": at.cast(TIMESTAMP),
        "device": [None if row % 7 == 0 else "tv" for row in range(rows)],
        "position": [float(row % 10) for row in range(rows)],
        "genres": [["drama", "crime"]] * rows,
        "watch_ms": [None if row % 3 else row * 1000 for row in range(rows)],
    }
    return pa.table(columns, schema=schema.arrow_schema)


@pytest.fixture(scope="session")
def day() -> date:
    return DAY


@pytest.fixture(scope="session")
def make_events(schema: EventSchema) -> Callable[..., pa.Table]:
    """Return a maker of days without defects."""
    return partial(_events, schema)


@pytest.fixture(scope="session")
def events(make_events: Callable[..., pa.Table]) -> pa.Table:
    return make_events()
