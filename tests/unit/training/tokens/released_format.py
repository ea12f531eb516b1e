"""Writes the tokens that later releases must still open; run once per released format::

python -m tests.unit.training.tokens.released_format tests/unit/training/tokens/format_1
"""

import json
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training.contracts import Histories
from training.events.artifacts import write_valid
from training.events.parts import write_raw_parts
from training.events.source import CATALOGUE_SCHEMA
from training.schema import Action, ActionRole, EventSchema, Facet, FacetKind, Phase
from training.tokens.config import TokenizerConfig, json_bytes
from training.tokens.histories import read_histories
from training.tokens.storage import write_tokens

CONFIG = TokenizerConfig(merge_gap_s=3600, num_buckets=2)
SCHEMA = EventSchema(
    name="released",
    actions=(
        Action(name="shown", role=ActionRole.IGNORED),
        Action(name="open", role=ActionRole.CONTEXT),
        Action(name="play", role=ActionRole.TARGET),
        Action(name="dislike", role=ActionRole.NEGATIVE),
    ),
    facets=(
        Facet(name="device", kind=FacetKind.CATEGORICAL, phase=Phase.REQUEST),
        Facet(name="position", kind=FacetKind.NUMERIC, phase=Phase.REQUEST),
        Facet(name="watch_ms", kind=FacetKind.DURATION, phase=Phase.OUTCOME),
    ),
    exposure="shown",
)
MIDNIGHT = datetime(2026, 2, 2, tzinfo=UTC)
EVENTS: list[tuple[str, str, str, float, str | None, float | None, int | None]] = [
    ("ana", "A", "shown", -50, "tv", 1.0, None),
    ("ana", "A", "open", -49, "tv", 1.0, None),
    ("ana", "A", "play", -40, None, None, 600_000),
    ("émile", "C", "play", -30, "phone", 4.0, 1_000),
    ("ana", "A", "play", 5, "phone", 2.0, 900_000),
    ("ana", "B", "dislike", 90, "phone", None, None),
    ("bo", "B", "play", 100, "tv", 7.0, 5_000),
    ("bo", "B", "play", 170, "tv", 8.0, 7_000),
]
"""User, item, action, minutes from midnight, device, position, watch_ms; a token spans midnight."""


def write(folder: Path) -> None:
    """The tokens of two days, and what they answer."""
    with TemporaryDirectory() as name:
        catalogue = Path(name) / "catalogue"
        catalogue.mkdir()
        titles = [
            {"item_id": i, "kind": "film", "valid_from": MIDNIGHT - timedelta(9)} for i in "ABC"
        ]
        pq.write_table(
            pa.Table.from_pylist(titles, schema=CATALOGUE_SCHEMA), catalogue / "catalogue.parquet"
        )
        for day in (date(2026, 2, 1), date(2026, 2, 2)):
            raw, valid = Path(name) / f"raw-{day}", Path(name) / f"valid-{day}"
            tokens = folder / str(day)
            for one in (raw, valid, tokens):
                one.mkdir(parents=True)
            write_raw_parts(_events_of(day), SCHEMA, raw, num_buckets=CONFIG.num_buckets)
            (raw / "schema.json").write_bytes(json_bytes(SCHEMA.to_json()))
            write_valid(raw, catalogue, day, valid)
            write_tokens(valid, CONFIG, tokens)
    (folder / "answers.json").write_text(json.dumps(answers(folder), indent=1))


def _events_of(day: date) -> pa.Table:
    rows = []
    for number, (user, item, action, minutes, device, position, watch_ms) in enumerate(EVENTS):
        at = MIDNIGHT + timedelta(minutes=minutes)
        rows.append({
            "event_id": f"e{number}", "user_id": user, "item_id": item, "action": action,
            "occurred_at": at, "received_at": at,
            "device": device, "position": position, "watch_ms": watch_ms,
        })  # fmt: skip
    of_day = [row for row in rows if row["occurred_at"].date() == day]
    return pa.Table.from_pylist(of_day, schema=SCHEMA.arrow_schema)


def answers(root: Path) -> dict[str, Any]:
    """What a reader is told."""
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir())
    return {
        "one day": _told(read_histories(folders, as_of=MIDNIGHT)),
        "both days": _told(read_histories(folders, as_of=MIDNIGHT + timedelta(days=1))),
    }


def _told(histories: Histories) -> dict[str, Any]:
    devices, device_code = histories.request_categories["device"]
    position = histories.request_numbers["position"]
    return {
        "users": list(histories.user_ids),
        "offsets": histories.offsets.tolist(),
        "items": [histories.items[code] for code in histories.item_code],
        "first_at": histories.first_at.tolist(),
        "last_at": histories.last_at.tolist(),
        "duration_ms": histories.duration_ms.tolist(),
        "num_events": histories.num_events.tolist(),
        "action_counts": histories.action_counts.tolist(),
        "device": [None if code < 0 else devices[code] for code in device_code],
        "position": [None if one != one else one for one in position.tolist()],  # noqa: PLR0124
    }


if __name__ == "__main__":
    write(Path(sys.argv[1]))
