"""What no log tells: the true worth of titles, and how likely each impression and choice was.

Ground truth for tests and evaluation; no step of the pipeline may read it. Of one session::

    offers ── slate propensity ──► page ── choice propensity ──► what is watched
              exact, given the             exact, given the
              offers and what              page
              stands above

Averages over the offers as well have no closed form: ``exposures`` counts them in replications.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.errors import NoDataError
from training.events.choices import choice_propensities
from training.events.coded import Texts, hex_ids
from training.events.sessions import Sessions, draw_sessions
from training.events.slates import Offers, Slates, draw_pages, fill_slates, slate_propensities
from training.events.taste import Demand
from training.events.world import Codes, Floats, Ints, hashed

_FIRST_REPLICATION = 1  # replication 0 is what was logged
_OFFERS_COLUMNS: dict[str, pa.DataType] = {
    "session": pa.int64(),
    "user_id": pa.string(),
    "item_id": pa.string(),
    "utility": pa.float64(),
    "slate_propensity": pa.float64(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruth:
    """The truth of a simulated world; every day can be asked for alone."""

    demand: Demand

    def relevance(self, day: date) -> tuple[tuple[str, ...], tuple[str, ...], Floats]:
        """Return users, items and the true worth of every item to every user on a day.

        -inf where an item cannot be watched. It takes ``8 * users * items`` bytes; for a large
        world ask for pairs.
        """
        worth = self.demand.utilities(self._index(day))
        return self.demand.users.ids, self.demand.titles.ids, worth

    def relevance_of(self, day: date, users: Texts, items: Texts) -> Floats:
        """Return float[n]: the true worth of each item to the user beside it, on a day.

        -inf where an item cannot be watched, also one that is in no catalogue. Raises NoDataError
        when a user is not of this world.
        """
        index = self._index(day)
        user = _places(users, self.demand.users.ids)
        title = _places(items, self.demand.titles.ids)
        if (user < 0).any():
            raise NoDataError(f"simulated world: {(user < 0).sum()} users are not of this world")
        taste = self.demand.tastes.at(user, index)
        worth = self.demand.utility(user, taste, np.maximum(title, 0), self.demand.appeal(index))
        return np.where(title >= 0, worth, -np.inf)

    def impressions(self, day: date) -> pa.Table:
        """Return every impression of the sessions that began on a day, with its propensities.

        ``event_id`` is that of the log, ``session`` numbers the day's pages. ``utility`` is the
        worth in the mood of the session. ``slate_propensity``: that the title stands there,
        given the session's offers and what stands above. ``first_choice_propensity`` and
        ``choice_propensity``: that it is what is watched first, and that it is watched at all,
        given the page. All are exact.
        """
        index = self._index(day)
        sessions, slates = self._pages(index)
        first, watched = choice_propensities(self.demand, sessions, slates, index)
        propensity = slate_propensities(self.demand, sessions, index)
        at = np.nonzero(slates.is_shown)
        return pa.table(
            {
                "event_id": self._event_ids(index, len(at[0])),
                "session": pa.array(at[0]),
                "user_id": _ids(self.demand.users.ids, sessions.user[at[0]]),
                "item_id": _ids(self.demand.titles.ids, slates.title[at]),
                "position": pa.array(at[1]),
                "utility": pa.array(slates.utility[at]),
                "slate_propensity": pa.array(propensity[at]),
                "first_choice_propensity": pa.array(first[at]),
                "choice_propensity": pa.array(watched[at]),
            }
        )

    def offers(self, day: date) -> pa.Table:
        """Return what each session could have been shown: what another policy would choose from.

        About fifty rows per session. ``slate_propensity`` is that of the title as the first of
        the offers to be placed: the second position of a page that leads with a followed series.
        """
        index = self._index(day)
        sessions = draw_sessions(self.demand, index)
        schema = pa.schema(_OFFERS_COLUMNS)
        parts = [schema.empty_table()]
        for at, offers, _ in draw_pages(self.demand, sessions, index):
            user = sessions.user[at][offers.session]
            columns = {
                "session": pa.array(offers.session + at.start),
                "user_id": _ids(self.demand.users.ids, user),
                "item_id": _ids(self.demand.titles.ids, offers.title),
                "utility": pa.array(offers.worth),
                "slate_propensity": pa.array(_softmax(offers)),
            }
            parts.append(pa.table(columns, schema=schema))
        return pa.concat_tables(parts).combine_chunks()

    def exposures(self, day: date, *, replications: int) -> pa.Table:
        """Return, per impression, how often other draws of the same sessions showed it again.

        ``position_share`` of the replications had the title at that position, ``page_share``
        had it anywhere on the page. Both average over offers and guesses, by Monte Carlo: the
        standard error of a share p is ``sqrt(p * (1 - p) / replications)``.
        """
        index = self._index(day)
        sessions, slates = self._pages(index)
        at_position, on_page = (np.zeros(slates.title.shape) for _ in range(2))
        for replication in range(_FIRST_REPLICATION, _FIRST_REPLICATION + replications):
            again = fill_slates(self.demand, sessions, index, replication=replication)
            shown = np.where(again.is_shown, again.title, -1)
            at_position += shown == slates.title
            on_page += (shown[:, None, :] == slates.title[:, :, None]).any(axis=2)
        at = np.nonzero(slates.is_shown)
        return pa.table(
            {
                "event_id": self._event_ids(index, len(at[0])),
                "position_share": pa.array(at_position[at] / replications),
                "page_share": pa.array(on_page[at] / replications),
            }
        )

    def _event_ids(self, day_index: int, num_impressions: int) -> Texts:
        """Return the ids of a day's impressions: they are the first of its events."""
        rows = np.arange(num_impressions)
        return hex_ids(hashed(self.demand.parameters.seed, day_index, rows))

    def _pages(self, day_index: int) -> tuple[Sessions, Slates]:
        sessions = draw_sessions(self.demand, day_index)
        return sessions, fill_slates(self.demand, sessions, day_index)

    def _index(self, day: date) -> int:
        index = (day - self.demand.parameters.first_day).days
        if not 0 <= index < self.demand.parameters.num_days:
            raise NoDataError(f"simulated world: there is no day {day}")
        return index


def _places(texts: Texts, of: Sequence[str]) -> Ints:
    """Return where each text stands, -1 where it does not."""
    found = pc.index_in(texts, value_set=pa.array(of, pa.string()))
    places: Ints = found.fill_null(-1).to_numpy().astype(np.int64)
    return places


def _ids(ids: Sequence[str], codes: Ints | Codes) -> Texts:
    return pa.array(ids, pa.string()).take(codes)


def _softmax(offers: Offers) -> Floats:
    top = np.full(offers.num_sessions, -np.inf)
    np.maximum.at(top, offers.session, offers.worth)
    weight = np.exp(offers.worth - top[offers.session])
    whole = np.bincount(offers.session, weights=weight, minlength=offers.num_sessions)
    share: Floats = weight / whole[offers.session]
    return share
