"""Where events come from: one interface for files, published data sets and the simulated world."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Protocol

import pyarrow as pa

from training.schema import TIMESTAMP, EventSchema

CATALOGUE_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("genres", pa.list_(pa.string())),
        pa.field("original_language", pa.string()),
        pa.field("release_country", pa.string()),
        pa.field("release_date", pa.date32()),
        pa.field("runtime_s", pa.int32()),
        pa.field("maturity", pa.string()),
        pa.field("synopsis", pa.string()),
        pa.field("valid_from", TIMESTAMP, nullable=False),
        pa.field("valid_to", TIMESTAMP),
    ]
)
"""Slowly changing: a row holds for instants in [valid_from, valid_to); null means still valid."""

PREFIX_SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_ids", pa.list_(pa.string()), nullable=False),
        pa.field("actions", pa.list_(pa.string()), nullable=False),
        pa.field("before", TIMESTAMP, nullable=False),
    ]
)
"""Histories of which only the order is known: items and, for each, the strongest action, oldest
first, all of them strictly before the instant ``before``. Never events: they carry no times."""


class EventSource(Protocol):
    """A log of events with its catalogue."""

    name: str
    schema: EventSchema
    first_day: date
    last_day: date

    def identity(self) -> Mapping[str, Any]:
        """Return what makes it this source, whatever arrives: parameters, how files are read."""
        ...

    def fingerprint(self, day: date) -> str:
        """Return a cheap digest that changes when more of that day's events have arrived."""
        ...

    def catalogue_fingerprint(self, *, as_of: datetime) -> str:
        """Return a cheap digest that changes when the catalogue before an instant does."""
        ...

    def read_day(self, day: date, *, received_before: datetime) -> pa.Table:
        """Return the events that occurred on ``day`` (UTC) and arrived before an instant, raw.

        Columns: ``schema.arrow_schema``, every one nullable; duplicates, disorder and nonsense as
        they arrived. Raises SourceError where the files are missing or have other columns, and
        NoDataError where the source holds no event of that day; no rows at all say that the day is
        known to be empty.
        """
        ...

    def catalogue(self, *, as_of: datetime) -> pa.Table:
        """Return the ``CATALOGUE_SCHEMA`` rows known before ``as_of``, by item and valid_from."""
        ...

    def history_prefix(self) -> pa.Table:
        """Return users' histories before the first day (``PREFIX_SCHEMA``), or 0 rows."""
        ...
