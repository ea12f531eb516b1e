"""A log of music listening, with facets that no built-in source has, and its mapping."""

import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

START_MS = int(datetime(2026, 1, 30, 12, tzinfo=UTC).timestamp() * 1000)
DAY_MS = 86_400_000

MAPPING: dict[str, Any] = {
    "format_version": 1,
    "name": "listening",
    "events": {
        "files": ["plays.parquet"],
        "format": "parquet",
        "user_id": "user",
        "item_id": "track",
        "occurred_at": {"column": "played_at", "unit": "ms"},
    },
    "actions": [
        {"name": "play", "role": "context"},
        {
            "name": "finished",
            "role": "target",
            "where": [{"column": "finished", "equals": True}],
        },
        {
            "name": "skipped",
            "role": "negative",
            "where": [{"column": "ms_played", "below": 30_000}],
        },
    ],
    "facets": [
        {"name": "device", "kind": "categorical", "phase": "request"},
        {"name": "ms_played", "kind": "duration", "phase": "outcome", "unit": "ms"},
        {
            "name": "moods",
            "kind": "multi_categorical",
            "phase": "request",
            "column": "tags",
            "separator": "|",
        },
    ],
    "catalogue": {"kind": "track"},
}

PLAYS = [
    {"user": 1, "track": "a", "played_at": START_MS, "finished": True, "ms_played": 200_000},
    {"user": 1, "track": "b", "played_at": START_MS + 1000, "finished": False, "ms_played": 9_000},
    {"user": 2, "track": "a", "played_at": START_MS + 2000, "finished": False, "ms_played": 60_000},
    {"user": 2, "track": "c", "played_at": START_MS + DAY_MS, "finished": True, "ms_played": 1},
]


def plays(rows: list[dict[str, Any]] | None = None) -> pl.DataFrame:
    """Return rows of the log."""
    frame = pl.DataFrame(PLAYS if rows is None else rows)
    moods = pl.when(pl.col("track") == "a").then(pl.lit("calm| late")).otherwise(None)
    return frame.with_columns(device=pl.lit("speaker"), tags=moods)


def mapping(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return the mapping's document over ``folder``; ``events__files`` changes an entry below."""
    document = copy.deepcopy(MAPPING)
    document["events"]["files"] = [str(folder / "plays.parquet")]
    for path, value in changes.items():
        *tables, key = path.split("__")
        table = document
        for name in tables:
            table = table[name]
        if value is None:
            del table[key]
        else:
            table[key] = value
    return document
