"""What a mapping would take of a log, and what the row rules would refuse, before anything runs.

It reads every day as ingestion does and asks the same rules, so its counts are those of a run.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pyarrow as pa

from lake.days import end_of
from training.content_hash import content_ids
from training.errors import NoDataError
from training.events.file_facts import ROW, FileDays
from training.events.own_log import OwnLog
from training.rules import split_events

_END_OF_TIME = datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Refused:
    """Events that break one rule."""

    count: int = 0
    day: date | None = None
    """Day of the first one."""
    event_id: str = ""
    """Id of the first one: the log's own, or the hash of its content."""


@dataclass(frozen=True, slots=True)
class DayTaken:
    """What is taken of one day."""

    day: date
    valid: int
    refused: int
    repeats: int

    @property
    def refused_share(self) -> float:
        """Share of the day's rows that the rules refuse."""
        return self.refused / max(1, self.valid + self.refused + self.repeats)


@dataclass(slots=True)
class Examination:
    """What would be taken of a log."""

    days: list[DayTaken] = field(default_factory=list)
    empty_days: list[date] = field(default_factory=list)
    """Days between the first and the last one without any event."""
    outside: int = 0
    """Rows on days before the first or after the last one."""
    too_late: int = 0
    """Events that arrive only after their day was final: they are not taken."""
    users: int = 0
    items: int = 0
    catalogue_items: int = 0
    by_action: dict[str, int] = field(default_factory=dict)
    filled: dict[str, int] = field(default_factory=dict)
    """Valid events that have a value of a facet."""
    refused: dict[str, Refused] = field(default_factory=dict)
    """By rule, in the order in which rules are tried; only those that are broken."""

    @property
    def valid(self) -> int:
        """Events that keep every rule."""
        return sum(one.valid for one in self.days)


def examine(source: OwnLog, *, lateness: timedelta) -> Examination:
    """Return what runs take in the end of a log whose days are final ``lateness`` after their end.

    Raises:
        SourceError: files cannot be read, or the catalogue contradicts itself.
    """
    found = Examination()
    users, items = pl.Series(dtype=pl.String), pl.Series(dtype=pl.String)
    taken_days = list(_days(source))
    rows_by_day = [one.rows_by_day for one in source.days]
    found.outside = sum(
        count for rows in rows_by_day for day, count in rows.items() if day not in set(taken_days)
    )
    for day in taken_days:
        valid = _take(source, day, found, lateness)
        if valid is not None:
            users = pl.concat([users, pl.Series(valid["user_id"]).unique()]).unique()
            items = pl.concat([items, pl.Series(valid["item_id"]).unique()]).unique()
    found.users, found.items = len(users), len(items)
    catalogue = source.catalogue(as_of=end_of(source.last_day))
    found.catalogue_items = pl.Series(catalogue["item_id"]).n_unique()
    return found


def _days(source: OwnLog) -> Iterator[date]:
    day = source.first_day
    while day <= source.last_day:
        yield day
        day += timedelta(days=1)


def _take(source: OwnLog, day: date, found: Examination, lateness: timedelta) -> pa.Table | None:
    """Add one day; return its valid events, or None where there is none at all."""
    try:
        arrived = source.read_day(day, received_before=_END_OF_TIME)
    except NoDataError:
        found.empty_days.append(day)
        return None
    is_too_late = pl.Series(arrived["received_at"]) >= end_of(day) + lateness
    raw = arrived.filter((~is_too_late).fill_null(value=True).to_arrow())
    found.too_late += arrived.num_rows - raw.num_rows
    if raw.num_rows == 0:
        found.empty_days.append(day)
        return None
    catalogue = source.catalogue(as_of=end_of(day))
    split = split_events(raw, schema=source.schema, day=day, catalogue=catalogue)
    valid, refused = split.valid, split.quarantined
    found.days.append(DayTaken(day, valid.num_rows, refused.num_rows, split.num_duplicates))
    for rule, count in split.counts_by_rule.items():
        if not count:
            continue
        one = found.refused.setdefault(rule, Refused())
        one.count += count
        if one.day is None:
            one.day = day
            one.event_id = refused["event_id"][refused["rule"].to_pylist().index(rule)].as_py()
    for action, count in pl.Series(valid["action"]).value_counts().iter_rows():
        found.by_action[action] = found.by_action.get(action, 0) + count
    for facet in source.schema.facets:
        given = valid.num_rows - valid[facet.name].null_count
        found.filled[facet.name] = found.filled.get(facet.name, 0) + given
    return valid


def untimed(source: OwnLog) -> list[FileDays]:
    """Return the files that have rows without a usable time."""
    return [one for one in source.days if one.num_untimed]


def position(source: OwnLog, refused: Refused) -> str:
    """Return where a refused event stands: its file's name and the number of its row."""
    assert refused.day is not None
    wanted = source.schema.arrow_schema
    for file, rows in source.located(refused.day, received_before=_END_OF_TIME, is_numbered=True):
        events = rows.select(wanted.names).to_arrow().cast(wanted)
        content = pl.Series(content_ids(events.drop_columns(["event_id", "received_at"])))
        ids = rows["event_id"].fill_null("")
        here = rows.filter(pl.Series(ids == refused.event_id) | (content == refused.event_id))
        if not here.is_empty():
            return f"{file.path.name} row {here[ROW][0]}"
    return f"event {refused.event_id}"
