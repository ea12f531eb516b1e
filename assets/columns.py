"""The columns of an artifact's table, as the orchestrator shows them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.presentation import column_schema

_MEANINGS: Mapping[str, str] = {
    "event_id": "What an event is known by; a repeated one is the same event.",
    "user_id": "The user, by the id in the log.",
    "item_id": "The item, by its id in the catalogue.",
    "action": "What was done: one of the schema's actions.",
    "occurred_at": "When it was done, UTC.",
    "received_at": "When the event arrived, UTC.",
    "rule": "The first rule that the row breaks.",
    "kind": "What the item is, such as a movie.",
    "valid_from": "From when on the row describes the item.",
    "valid_to": "Until when; null means still.",
    "num_events": "Events of the day in tokens.",
    "is_retired": "The catalogue describes it no longer; its row stays.",
    "tokens": "Merged interactions of the user on the day, in time order.",
    "embedding": "The vector; inner products are the model's logits.",
}


def columns_of(folder: Path) -> dict[str, Any]:
    """Return the columns of the tables in ``folder`` as metadata; empty where there is none."""
    parts = sorted(folder.rglob("part-*.parquet")) or sorted(folder.rglob("*.parquet"))
    if parts:
        schema = pq.read_schema(parts[0])
    elif arrow := sorted(folder.glob("*.arrow")):
        with pa.memory_map(str(arrow[0])) as source:
            schema = pa.ipc.open_file(source).schema
    else:
        return {}
    return {"dagster/column_schema": column_schema(schema, _MEANINGS)}
