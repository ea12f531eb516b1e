"""Logs with instants, whole or as they were before a day: a workspace's, a published one, any."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from assets.workspace import Workspace
from benchmarks.recipes import data_before
from lake.days import end_of, start_of
from training.contracts import UNKNOWN_INSTANT, Histories
from training.cuts import kept
from training.data import TrainingData
from training.errors import NoDataError
from training.events.artifacts import write_catalogue, write_prefix
from training.events.kuairand import KuaiRand
from training.events.own_log import OwnLog
from training.events.published_logs import published_mapping
from training.events.source import EventSource
from training.features.catalogue import Catalogue, read_catalogue
from training.rules import split_events
from training.schema import EventSchema
from training.tokens.histories import joined
from training.tokens.merge import merge
from training.tokens.partial import read_bucket
from training.tokens.prefix import read_prefix
from training.tokens.storage import jagged
from training.tokens.targets import microseconds
from training.tokens.tokenizers import TOKENIZERS
from training.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLog:
    """What ``training.data.TrainingData`` gives, of a log that is at hand."""

    log: Histories
    films: Catalogue
    event_schema: EventSchema
    as_of: datetime

    def schema(self) -> EventSchema:
        """Return the schema of the tokens."""
        return self.event_schema

    def histories(self) -> Histories:
        """Return the histories as of ``as_of``."""
        return self.log

    def catalogue(self) -> Catalogue:
        """Return the catalogue as described at ``as_of``."""
        return self.films

    def vocabulary(self) -> Vocabulary:
        """Return the items of the tokens, no later ones."""
        items = (self.log.items[code] for code in np.unique(self.log.item_code))
        return Vocabulary.empty().grown(items, self.as_of.date() - timedelta(days=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedLog:
    """A log that can be read as it was at the start of a day."""

    name: str
    last_day: date
    before: Callable[[date], TrainingData | MemoryLog]
    """What may be learned from before a day."""
    described: Callable[[date, date], Catalogue]
    """The catalogue as described at the start of a day, with what came until another one."""


def workspace_log(folder: Path) -> DatedLog:
    """Return the log of a workspace."""
    workspace = Workspace.open(folder)
    last = max(date.fromisoformat(ref.partition) for ref in workspace.lake.refs("valid_events"))
    return DatedLog(
        name=folder.name,
        last_day=last,
        before=lambda day: data_before(workspace, day),
        described=lambda day, until: data_before(workspace, until).catalogue(as_of=start_of(day)),
    )


def published_log(source: str, folder: Path) -> DatedLog:
    """Return the log of KuaiRand-Pure or MovieTweetings files, read once and cut in memory."""
    return source_log(source, _open(source, folder))


def source_log(name: str, opened: EventSource) -> DatedLog:
    """Return the log of a source, read once and cut in memory."""
    log, schema = _histories(opened)

    def described(day: date, until: date) -> Catalogue:
        with tempfile.TemporaryDirectory() as folder:
            write_catalogue(opened, start_of(until), Path(folder))
            return read_catalogue(Path(folder), as_of=start_of(day))

    def before(day: date) -> MemoryLog:
        as_of = start_of(day)
        is_prefix = log.last_at == UNKNOWN_INSTANT
        return MemoryLog(
            log=_of_its_own_items(kept(log, is_prefix | (log.last_at < microseconds(as_of)))),
            films=described(day, day),
            event_schema=schema,
            as_of=as_of,
        )

    return DatedLog(name=name, last_day=opened.last_day, before=before, described=described)


def _of_its_own_items(log: Histories) -> Histories:
    # an item that is yet to launch is in no catalogue of the day
    codes, own_code = np.unique(log.item_code, return_inverse=True)
    items = tuple(log.items[code] for code in codes)
    return replace(log, items=items, item_code=own_code.astype(np.int32))


def _open(source: str, folder: Path) -> EventSource:
    if source == "kuairand":
        return KuaiRand(folder)
    mapping = published_mapping(source, folder)
    return OwnLog(replace(mapping, world=replace(mapping.world, first_day=None, last_day=None)))


def _histories(source: EventSource) -> tuple[Histories, EventSchema]:
    """Return the histories of all days behind their prefixes, and the schema of the tokens."""
    days = (source.last_day - source.first_day).days + 1
    parts = []
    for day in (source.first_day + timedelta(days=n) for n in range(days)):
        try:
            parts.append(source.read_day(day, received_before=end_of(day)))
        except NoDataError:
            continue
    catalogue = source.catalogue(as_of=end_of(source.last_day))
    valid = split_events(
        pa.concat_tables(parts), schema=source.schema, day=None, catalogue=catalogue
    )
    config = TOKENIZERS["interaction_tokens"]
    schema = config.schema_of_tokens(source.schema)
    tokens = read_bucket(jagged(merge(valid.coded_valid, source.schema, config)), schema)
    with tempfile.TemporaryDirectory() as name:
        write_prefix(source, Path(name))
        prefix = read_prefix(Path(name), schema, as_of=end_of(source.last_day), users=None)
    return joined([prefix, tokens], gap_us=config.merge_gap_us), schema
