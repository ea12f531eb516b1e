"""A mapping: how the columns of somebody's own files become events and items.

It is TOML: Python reads that by itself, it has comments and dates, and nothing in it can be
executed. ``LogMapping`` is a mapping that says everything and contradicts nothing; whether the
files have its columns is for the readers to find out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

from training.schema import EVENT_COLUMNS, Action, EventSchema, Facet

FORMAT_VERSION = 1

TAKEN_NAMES = frozenset({"rule", "_content", "_launched_at", *(name for name, _ in EVENT_COLUMNS)})
"""What a facet cannot be called: the fixed columns, and those that the row rules add."""


class TimeUnit(StrEnum):
    """How a column holds instants."""

    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"
    """Numbers since 1970 UTC."""
    ISO = "iso"
    """Text, such as 2026-01-31T20:15:00+01:00."""
    TIMESTAMP = "timestamp"
    """The file's own type for instants."""


class DurationUnit(StrEnum):
    """What one of a column of durations is."""

    MILLISECONDS = "ms"
    SECONDS = "s"
    MINUTES = "min"

    @property
    def milliseconds(self) -> int:
        """Milliseconds of one."""
        return {"ms": 1, "s": 1_000, "min": 60_000}[self.value]


class FileFormat(StrEnum):
    """How the files are written."""

    PARQUET = "parquet"
    CSV = "csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSet:
    """Files of one layout."""

    paths: tuple[Path, ...]
    """Files, or folders with all that is below them; absolute."""
    format: FileFormat
    delimiter: str
    quote: str | None
    encoding: str
    nulls: tuple[str, ...]
    """What stands for a missing value in CSV, unless it is quoted."""
    columns: tuple[str, ...]
    """Names of the columns of CSV files without a header, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstantColumn:
    """A column of instants."""

    column: str
    unit: TimeUnit
    zone: str | None
    """Where the clock stood that wrote the times that name no zone; without it they are unusable.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What a row has to satisfy to be an action."""

    column: str
    test: str
    """equals, one_of, at_least or below."""
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRows:
    """Which rows are an action: those with one of ``values``, or those where ``where`` holds."""

    action: Action
    values: tuple[str, ...]
    where: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetColumn:
    """Where a facet stands."""

    facet: Facet
    column: str
    unit: str | None
    """A ``DurationUnit`` of durations, a ``TimeUnit`` of instants."""
    zone: str | None
    separator: str | None
    """Between the members of a set that is written as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventColumns:
    """Where the fixed columns of events stand."""

    files: FileSet
    user_id: str
    item_id: str
    occurred_at: InstantColumn
    received_at: InstantColumn | None
    event_id: str | None
    action: str | None
    """The column that names the action, where one does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueColumns:
    """Where items are described; without ``files`` they are those that events name."""

    files: FileSet | None
    item_id: str
    kind: str | None
    """The kind of every item, unless ``kind_column`` names it."""
    kind_column: str | None
    texts: Mapping[str, str]
    """Columns of title, original_language, release_country, maturity, synopsis."""
    genres: str | None
    separator: str | None
    release_date: str | None
    runtime: tuple[str, DurationUnit] | None
    valid_from: InstantColumn | None
    valid_to: InstantColumn | None


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a workspace takes of the log."""

    first_day: date | None
    last_day: date | None
    recipe: str
    fine_tuned_days: int
    evaluation_days: int = 0
    """The last days: taken in after the fine-tuned ones, never trained on."""
    empty_days: bool = False
    """A day without events is a day like any other, not a sign that files are missing."""
    quality_margin: float | None = None
    """Of the workspace's quality gate; None takes the default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMapping:
    """How somebody's own log is read."""

    name: str
    events: EventColumns
    actions: tuple[ActionRows, ...]
    facets: tuple[FacetColumn, ...]
    catalogue: CatalogueColumns
    world: World
    schema: EventSchema
    document: Mapping[str, Any] = field(compare=False)
    """The mapping as JSON, files as absolute paths: ``mapping_from`` reads it again."""

    def content(self) -> dict[str, Any]:
        """Return what decides how a row is read: neither where files lie nor what is taken."""
        parts = {key: value for key, value in self.document.items() if key != "world"}
        for part in ("events", "catalogue"):
            parts[part] = {k: v for k, v in parts[part].items() if k != "files"}
        return parts
