"""A log of exposures and choices, written as valid_events folders."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from training.events.parts import write_parts
from training.schema import Action, ActionRole, EventSchema, Facet, FacetKind, Phase

SCHEMA = EventSchema(
    name="shown",
    actions=(
        Action(name="impression", role=ActionRole.IGNORED),
        Action(name="play", role=ActionRole.TARGET),
        Action(name="thumb_down", role=ActionRole.NEGATIVE),
    ),
    facets=(
        Facet(name="device", kind=FacetKind.CATEGORICAL, phase=Phase.REQUEST),
        Facet(name="position", kind=FacetKind.NUMERIC, phase=Phase.REQUEST),
        Facet(name="watched", kind=FacetKind.DURATION, phase=Phase.OUTCOME),
    ),
    exposure="impression",
)
FIRST = datetime(2026, 3, 1, tzinfo=UTC)


def at(day: int, hour: float) -> datetime:
    return FIRST + timedelta(days=day, hours=hour)


def day_name(day: int) -> str:
    return (FIRST + timedelta(days=day)).date().isoformat()


def event(action: str, user: str, item: str, when: datetime, **facets: object) -> dict:
    return {
        "event_id": f"{action}-{user}-{item}-{when.isoformat()}",
        "user_id": user,
        "item_id": item,
        "action": action,
        "occurred_at": when,
        "received_at": when,
        "device": "tv",
        "position": 0.0,
        "watched": None,
        **facets,
    }


def write_days(
    root: Path, events: list[dict], *, num_days: int, schema: EventSchema = SCHEMA
) -> dict[str, Path]:
    """Write a folder per day; return them by day."""
    folders = {}
    for day in range(num_days):
        folder = root / day_name(day)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [one for one in events if at(day, 0) <= one["occurred_at"] < at(day + 1, 0)]
        rows.sort(key=lambda one: (one["user_id"], one["occurred_at"], one["event_id"]))
        write_parts(pa.Table.from_pylist(rows, SCHEMA.arrow_schema), folder, num_buckets=1)
        (folder / "schema.json").write_text(json.dumps(schema.to_json()))
        folders[day_name(day)] = folder
    return folders
