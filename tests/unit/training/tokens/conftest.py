from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.events.parts import part_paths, write_parts
from training.schema import Action, ActionRole, EventSchema, Facet, FacetKind, Phase
from training.tokens.config import json_bytes

ORDER = [("user_id", "ascending"), ("occurred_at", "ascending"), ("event_id", "ascending")]


@pytest.fixture(scope="session")
def schema() -> EventSchema:
    """A log with every role and every kind of facet."""
    return EventSchema(
        name="tiny",
        actions=(
            Action(name="shown", role=ActionRole.IGNORED),
            Action(name="play", role=ActionRole.TARGET),
            Action(name="open", role=ActionRole.CONTEXT),
            Action(name="dislike", role=ActionRole.NEGATIVE),
        ),
        facets=(
            Facet(name="device", kind=FacetKind.CATEGORICAL, phase=Phase.REQUEST),
            Facet(name="tags", kind=FacetKind.MULTI_CATEGORICAL, phase=Phase.REQUEST),
            Facet(name="position", kind=FacetKind.NUMERIC, phase=Phase.REQUEST),
            Facet(name="asked_at", kind=FacetKind.INSTANT, phase=Phase.REQUEST),
            Facet(name="wait_ms", kind=FacetKind.DURATION, phase=Phase.REQUEST),
            Facet(name="watch_ms", kind=FacetKind.DURATION, phase=Phase.OUTCOME),
            Facet(name="rating", kind=FacetKind.NUMERIC, phase=Phase.OUTCOME),
        ),
        exposure="shown",
    )


@pytest.fixture(scope="session")
def table(schema: EventSchema) -> Callable[..., pa.Table]:
    """Build a sorted table of events from rows that name only what matters."""

    def build(rows: Iterable[dict[str, Any]]) -> pa.Table:
        filled = [
            {
                "event_id": f"e{number:03d}",
                "user_id": "ana",
                "item_id": "A",
                "action": "play",
                "received_at": row["occurred_at"],
                **row,
            }
            for number, row in enumerate(rows)
        ]
        return pa.Table.from_pylist(filled, schema=schema.arrow_schema).sort_by(ORDER)

    return build


@pytest.fixture(scope="session")
def write_valid(schema: EventSchema) -> Callable[..., Path]:
    """Write a folder of valid events."""

    def write(events: pa.Table, folder: Path, num_buckets: int = 2, **layout: Any) -> Path:
        folder.mkdir(parents=True)
        write_parts(events, folder, num_buckets=num_buckets)
        for path in part_paths(folder) if layout else ():
            pq.write_table(pq.read_table(path), path, **layout)
        (folder / "schema.json").write_bytes(json_bytes(schema.to_json()))
        return folder

    return write
