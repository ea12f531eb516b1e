"""A streaming service that does not exist: a source for demos, tests and measurements."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.digests import digest_json
from training.errors import NoDataError
from training.events.choices import choose
from training.events.defects import add_defects, draw_received
from training.events.sessions import CANVASES, ROWS, Sessions, draw_sessions
from training.events.slates import fill_slates
from training.events.source import PREFIX_SCHEMA
from training.events.taste import build_demand
from training.events.titles import catalogue_rows, draw_titles, genre_factors
from training.events.viewing import ACTIONS, Happenings, act
from training.events.world import (
    DAY_US,
    DEVICES,
    MARKETS,
    Floats,
    Hashes,
    Ints,
    WorldParameters,
    draw_users,
    hashed,
    start_us,
)
from training.schema import TIMESTAMP, Action, ActionRole, EventSchema, Facet, FacetKind, Phase

_ROLES = {
    "impression": ActionRole.IGNORED,
    "play": ActionRole.TARGET,
    "trailer": ActionRole.CONTEXT,
    # a wish, not a choice: the play that may follow is the target
    "list_add": ActionRole.CONTEXT,
    "thumb_up": ActionRole.CONTEXT,
    "thumb_down": ActionRole.NEGATIVE,
}

SIMULATED_SCHEMA = EventSchema(
    name="simulated",
    actions=tuple(Action(name=name, role=_ROLES[name]) for name in ACTIONS),
    facets=(
        Facet(name="device", kind=FacetKind.CATEGORICAL, phase=Phase.REQUEST),
        Facet(name="country", kind=FacetKind.CATEGORICAL, phase=Phase.REQUEST),
        Facet(name="locale", kind=FacetKind.CATEGORICAL, phase=Phase.REQUEST),
        Facet(name="canvas", kind=FacetKind.CATEGORICAL, phase=Phase.REQUEST),
        Facet(name="row", kind=FacetKind.CATEGORICAL, phase=Phase.REQUEST),
        Facet(name="position", kind=FacetKind.NUMERIC, phase=Phase.REQUEST),
        Facet(name="watch_duration", kind=FacetKind.DURATION, phase=Phase.OUTCOME),
    ),
    exposure="impression",
)


class SimulatedWorld:
    """An ``EventSource`` whose every byte follows from its parameters."""

    name = "simulated"
    schema = SIMULATED_SCHEMA

    def __init__(self, parameters: WorldParameters | None = None) -> None:
        """Draw what never changes: users, titles, tastes."""
        self.parameters = parameters or WorldParameters()
        self.first_day = self.parameters.first_day
        self.last_day = self.parameters.last_day
        self._users = draw_users(self.parameters)
        self._titles = draw_titles(self.parameters)
        genres = genre_factors(self.parameters.seed)
        self._demand = build_demand(self.parameters, self._users, self._titles, genres)
        self._recent: dict[int, tuple[Sessions, Happenings, Hashes]] = {}

    def identity(self) -> Mapping[str, Any]:
        """Return the parameters."""
        return {"name": self.name, "parameters": self.parameters.to_json()}

    def fingerprint(self, day: date) -> str:
        """Return a digest of the parameters and the day: nothing else ever arrives."""
        return digest_json({**self.identity(), "day": day.isoformat()})

    def catalogue_fingerprint(self, *, as_of: datetime) -> str:
        """Return a digest of the parameters and the instant."""
        return digest_json({**self.identity(), "as_of": as_of.isoformat()})

    def read_day(self, day: date, *, received_before: datetime) -> pa.Table:
        """Return the day's rows that arrived before an instant, in order of arrival."""
        if not self.first_day <= day <= self.last_day:
            raise NoDataError(
                f"simulated world: no events on {day}; it lasts from {self.first_day} "
                f"to {self.last_day}"
            )
        day_index = (day - self.first_day).days
        raw = add_defects(self._genuine(day_index), self.parameters, day_index)
        cut = pa.scalar(received_before, type=TIMESTAMP)
        received_at = raw["received_at"]
        is_early = pc.less(received_at, cut)
        return raw.filter(pc.or_kleene(is_early, received_at.is_null())).combine_chunks()

    def catalogue(self, *, as_of: datetime) -> pa.Table:
        """Return the titles launched before an instant, as they were described then."""
        return catalogue_rows(self._titles, as_of_us=_us(as_of))

    def history_prefix(self) -> pa.Table:
        """Return no rows: this world has a beginning."""
        return PREFIX_SCHEMA.empty_table()

    def relevance(self, day: date) -> tuple[tuple[str, ...], tuple[str, ...], Floats]:
        """Return users, items and the true worth of every item to every user on a day.

        Ground truth for tests and measurements, -inf where an item cannot be watched; no step
        of the pipeline may read it.
        """
        worth = self._demand.utilities((day - self.first_day).days)
        return self._users.ids, self._titles.ids, worth

    def _genuine(self, day_index: int) -> pa.Table:
        """Return the events that occurred on a day, begun on that day or the one before."""
        begins = start_us(self.first_day) + day_index * DAY_US
        parts = []
        for session_day in (day_index - 1, day_index):
            if session_day < 0:
                continue
            sessions, events, numbers = self._simulated(session_day)
            on_day = (events.at_us >= begins) & (events.at_us < begins + DAY_US)
            parts.append(self._table(sessions, events, numbers, np.flatnonzero(on_day)))
        table = pa.concat_tables(parts)
        occurred = table["occurred_at"].cast(pa.int64()).to_numpy()
        received = draw_received(self.parameters, occurred, day_index)
        index = table.schema.get_field_index("received_at")
        return table.set_column(
            index, table.schema.field(index), pa.array(received).cast(TIMESTAMP)
        )

    def _simulated(self, day_index: int) -> tuple[Sessions, Happenings, Hashes]:
        """Return the sessions that began on a day, their events and the events' ids."""
        if day_index not in self._recent:
            sessions = draw_sessions(self._demand, day_index)
            slates = fill_slates(self._demand, sessions, day_index)
            viewings = choose(self._demand, sessions, slates, day_index)
            events = act(self._demand, sessions, slates, viewings, day_index)
            numbers = hashed(self.parameters.seed, day_index, np.arange(len(events.at_us)))
            # reading days in order needs each day twice: as its own and as the day before
            self._recent = {
                one: held for one, held in self._recent.items() if abs(one - day_index) == 1
            }
            self._recent[day_index] = (sessions, events, numbers)
        return self._recent[day_index]

    def _table(self, sessions: Sessions, events: Happenings, numbers: Any, rows: Ints) -> pa.Table:
        session = events.session[rows]
        user = sessions.user[session]
        market = self._users.market[user]
        watched = events.watched_ms[rows]
        columns = {
            "event_id": pa.array(_hex(numbers[rows])),
            "user_id": _strings(user, self._users.ids),
            "item_id": _strings(events.title[rows], self._titles.ids),
            "action": _strings(events.action[rows], ACTIONS),
            "occurred_at": pa.array(events.at_us[rows]).cast(TIMESTAMP),
            "received_at": pa.nulls(len(rows), TIMESTAMP),
            "device": _strings(sessions.device[session], DEVICES),
            "country": _strings(market, [one[0] for one in MARKETS]),
            "locale": _strings(market, [one[1] for one in MARKETS]),
            "canvas": _strings(sessions.canvas[session], CANVASES),
            "row": _strings(events.row[rows], ROWS),
            "position": pa.array(events.position[rows].astype(np.float64)),
            "watch_duration": pa.array(watched, mask=watched < 0),
        }
        return pa.table(columns, schema=self.schema.arrow_schema)


def _strings(codes: Ints, values: Sequence[str]) -> "pa.Array[Any]":
    return pa.array(values, pa.string()).take(codes)


def _hex(numbers: Any) -> Any:
    """Return 16 hex digits per uint64."""
    digits = numbers.astype(">u8").tobytes().hex()
    return np.frombuffer(digits.encode(), dtype="S16").astype(str)


def _us(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
