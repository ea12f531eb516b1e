"""A streaming service that does not exist: a source for demos, tests and measurements."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from lake.digests import digest_json
from training.errors import NoDataError
from training.events.choices import choose
from training.events.coded import NEVER, OWN, CodedEvents, texts, to_table
from training.events.defects import add_defects, draw_received
from training.events.sessions import Sessions, draw_sessions
from training.events.slates import fill_slates
from training.events.source import PREFIX_SCHEMA
from training.events.taste import build_demand
from training.events.titles import catalogue_rows, draw_titles, genre_factors
from training.events.truth import GroundTruth
from training.events.viewing import ACTIONS, Happenings, act
from training.events.world import (
    DAY_US,
    Ints,
    WorldParameters,
    draw_users,
    hashed,
    start_us,
)
from training.schema import Action, ActionRole, EventSchema, Facet, FacetKind, Phase

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
        self._user_ids = texts([*self._users.ids, ""])
        self._after_midnight: dict[int, CodedEvents] = {}

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
        events, gone = add_defects(self._genuine(day_index), self.parameters, day_index)
        is_early = events.received_us < _us(received_before)
        if len(events) and not is_early.any():
            raise NoDataError(
                f"simulated world: no events of {day} arrived before {received_before}"
            )
        return to_table(
            events if is_early.all() else events.take(np.flatnonzero(is_early)),
            user_ids=self._user_ids,
            title_ids=texts([*self._titles.ids, *gone]),
            schema=self.schema.arrow_schema,
        )

    def catalogue(self, *, as_of: datetime) -> pa.Table:
        """Return the titles launched before an instant, as they were described then."""
        return catalogue_rows(self._titles, as_of_us=_us(as_of))

    def history_prefix(self) -> pa.Table:
        """Return no rows: this world has a beginning."""
        return PREFIX_SCHEMA.empty_table()

    @property
    def truth(self) -> GroundTruth:
        """What tests and evaluations may ask, and no step of the pipeline may read."""
        return GroundTruth(demand=self._demand)

    def _genuine(self, day_index: int) -> CodedEvents:
        """Return the events that occurred on a day, begun on that day or the one before."""
        before = []
        if day_index > 0:
            if day_index - 1 not in self._after_midnight:
                self._simulate(day_index - 1)
            before.append(self._after_midnight[day_index - 1])
        events = CodedEvents.concat([*before, self._simulate(day_index)])
        # reading days in order needs each day's tail twice: once its own day is read again
        self._after_midnight = {
            one: tail for one, tail in self._after_midnight.items() if 0 <= day_index - one <= 1
        }
        received = draw_received(self.parameters, events.occurred_us, day_index)
        return replace(events, received_us=received)

    def _simulate(self, day_index: int) -> CodedEvents:
        """Return what occurs on a day of the sessions that begin on it; keep what occurs after."""
        sessions = draw_sessions(self._demand, day_index)
        slates = fill_slates(self._demand, sessions, day_index)
        viewings = choose(self._demand, sessions, slates, day_index)
        events = act(self._demand, sessions, slates, viewings, day_index)
        ends = start_us(self.first_day) + (day_index + 1) * DAY_US
        on_day = events.at_us < ends
        after = np.flatnonzero(~on_day & (events.at_us < ends + DAY_US))
        self._after_midnight[day_index] = self._coded(sessions, events, after, day_index)
        return self._coded(sessions, events, np.flatnonzero(on_day), day_index)

    def _coded(
        self, sessions: Sessions, events: Happenings, rows: Ints, day_index: int
    ) -> CodedEvents:
        session = events.session[rows]
        user = sessions.user[session]
        return CodedEvents(
            number=hashed(self.parameters.seed, day_index, rows),
            origin=np.full(len(rows), OWN, dtype=np.int8),
            user=user.astype(np.int32),
            title=events.title[rows].astype(np.int32),
            action=events.action[rows].astype(np.int8),
            occurred_us=events.at_us[rows],
            received_us=np.full(len(rows), NEVER),
            device=sessions.device[session].astype(np.int8),
            market=self._users.market[user].astype(np.int8),
            canvas=sessions.canvas[session].astype(np.int8),
            row=events.row[rows].astype(np.int8),
            position=events.position[rows].astype(np.int8),
            watched_ms=events.watched_ms[rows].astype(np.int32),
        )


def _us(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
