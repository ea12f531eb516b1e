"""The input of every contender: raw events as they arrived, and the catalogue.

::

    <folder>/raw/2026-01-11/       events-*.parquet  schema.json      simulated: a folder per day
    <folder>/raw/whole/            events-0000.parquet  schema.json   MovieLens: years in one file
    <folder>/catalogue/            catalogue.parquet
    <folder>/input.json            days, rows
"""

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import pyarrow as pa

from lake.atomic import replace_json
from lake.days import end_of
from training.events.artifacts import write_catalogue, write_raw
from training.events.own_log import OwnLog
from training.events.parts import write_raw_parts
from training.events.published_logs import published_mapping
from training.events.simulated import SimulatedWorld
from training.events.source import EventSource
from training.events.world import WorldParameters

EVENTS_PER_USER_DAY = 3.6
"""What a user of the simulated world leaves on a day, repeats and nonsense included."""

_AFTER_EVERYTHING = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Where the raw events of some days lie."""

    folder: Path
    days: list[date]
    """Empty where one folder has the events of any day."""
    rows: int

    def raw(self, day: date | None) -> Path:
        """Return the folder of a day's raw events; without a day, of all of them."""
        return self.folder / "raw" / (day.isoformat() if day else "whole")

    @property
    def parts(self) -> list[date | None]:
        """The days, or None alone."""
        return [*self.days] or [None]

    @property
    def catalogue(self) -> Path:
        """The folder of the catalogue as known after the last day."""
        return self.folder / "catalogue"

    def write(self) -> None:
        """Say that the folder is whole."""
        said = {"days": [day.isoformat() for day in self.days], "rows": self.rows}
        (self.folder / "input.json").write_text(json.dumps(said))


def read_input(folder: Path) -> Input:
    """Return what ``simulated`` or ``movielens`` wrote."""
    said = json.loads((folder / "input.json").read_text())
    days = [date.fromisoformat(day) for day in said["days"]]
    return Input(folder=folder, days=days, rows=said["rows"])


def simulated(folder: Path, *, events: int, num_days: int, processes: int) -> Input:
    """Write about ``events`` simulated events over ``num_days``, days spread over processes."""
    if (folder / "input.json").exists():
        return read_input(folder)
    num_users = round(events / num_days / EVENTS_PER_USER_DAY)
    parameters = WorldParameters(num_users=num_users, num_days=num_days)
    world = _world(parameters)
    days = [parameters.first_day + timedelta(days=index) for index in range(num_days)]
    # a day needs the evening before it, which a process has at hand if it wrote that day
    spans = -(-num_days // processes)
    with ProcessPoolExecutor(processes) as pool:
        rows = list(
            pool.map(
                _write_day, [parameters] * num_days, [folder] * num_days, days, chunksize=spans
            )
        )
    return _finished(world, Input(folder=folder, days=days, rows=sum(rows)), after=days[-1])


def movielens(folder: Path, data: Path) -> Input:
    """Write the ratings of MovieLens-1M as raw events, in one file."""
    if (folder / "input.json").exists():
        return read_input(folder)
    # in a process of its own: what it takes would count as the least that a contender takes
    with ProcessPoolExecutor(1) as pool:
        return pool.submit(_write_movielens, folder, data).result()


def _write_movielens(folder: Path, data: Path) -> Input:
    source = OwnLog(published_mapping("movielens-1m", data))
    span = (source.last_day - source.first_day).days + 1
    days = [source.first_day + timedelta(days=index) for index in range(span)]
    by_day = [source.read_day(day, received_before=_AFTER_EVERYTHING) for day in days]
    events = pa.concat_tables(by_day).combine_chunks()
    into = folder / "raw" / "whole"
    into.mkdir(parents=True)
    write_raw_parts(events, source.schema, into, num_buckets=1)
    replace_json(into / "schema.json", source.schema.to_json())
    return _finished(source, Input(folder=folder, days=[], rows=events.num_rows), after=days[-1])


@cache
def _world(parameters: WorldParameters) -> SimulatedWorld:
    return SimulatedWorld(parameters)


def _write_day(parameters: WorldParameters, folder: Path, day: date) -> int:
    return _write_raw(_world(parameters), folder, day)


def _write_raw(source: EventSource, folder: Path, day: date) -> int:
    into = folder / "raw" / day.isoformat()
    into.mkdir(parents=True, exist_ok=True)
    return write_raw(source, day, _AFTER_EVERYTHING, into).rows


def _finished(source: EventSource, made: Input, *, after: date) -> Input:
    made.catalogue.mkdir(exist_ok=True)
    write_catalogue(source, end_of(after.isoformat()), made.catalogue)
    made.write()
    return made
