from dataclasses import dataclass

import numpy as np
import pytest

from training.events import slates
from training.events.sessions import (
    CONTINUE,
    FEED,
    HOME,
    KIDS,
    MOBILE_FEED,
    RESULTS,
    SEARCH,
    Sessions,
    draw_sessions,
)
from training.events.simulated import SimulatedWorld
from training.events.slates import Slates, fill_slates
from training.events.taste import Demand
from training.events.titles import GAME, MOVIE
from training.events.world import DEVICES, WorldParameters, stream

DAY = 9


@dataclass(frozen=True)
class Day:
    demand: Demand
    sessions: Sessions
    slates: Slates


@pytest.fixture(scope="module")
def day() -> Day:
    parameters = WorldParameters(num_users=3_000, num_titles=400, sessions_per_user_day=1.0)
    demand = SimulatedWorld(parameters)._demand
    sessions = draw_sessions(demand, DAY)
    return Day(demand, sessions, fill_slates(demand, sessions, DAY))


def test_kids_profiles_see_the_kids_canvas_and_only_what_kids_may_see(day: Day) -> None:
    is_kids = day.demand.users.is_kids[day.sessions.user]
    shown = day.slates.title[is_kids][day.slates.is_shown[is_kids]]

    assert ((day.sessions.canvas == KIDS) == is_kids).all()
    assert day.demand.titles.is_kids[shown].all()
    assert len(shown) > 100


def test_a_page_shows_a_title_once(day: Day) -> None:
    for titles, is_shown in zip(day.slates.title, day.slates.is_shown, strict=True):
        shown = titles[is_shown].tolist()
        assert len(shown) == len(set(shown))


def test_pages_are_nearly_always_full(day: Day) -> None:
    size = np.array([7, 4, 7, 5])[day.sessions.canvas]
    filled = day.slates.is_shown.sum(axis=1)

    assert (filled <= size).all()
    assert (filled == size).mean() > 0.95


def test_the_followed_series_leads_home_and_kids_pages(day: Day) -> None:
    follows = (day.sessions.followed >= 0) & np.isin(day.sessions.canvas, (HOME, KIDS))

    assert (day.slates.title[follows, 0] == day.sessions.followed[follows]).all()
    assert (day.slates.row[follows, 0] == CONTINUE).all()


def test_games_are_offered_on_touch_devices_only(day: Day) -> None:
    session, cell = np.nonzero(day.slates.is_shown)
    is_game = day.demand.titles.kind[day.slates.title[session, cell]] == GAME
    devices = {DEVICES[code] for code in set(day.sessions.device[session[is_game]].tolist())}

    assert devices == {"mobile", "tablet"}


def test_rows_belong_to_their_canvas(day: Day) -> None:
    canvas = np.broadcast_to(day.sessions.canvas[:, None], day.slates.row.shape)

    assert ((day.slates.row == RESULTS) == (canvas == SEARCH)).all()
    assert ((day.slates.row == FEED) == (canvas == MOBILE_FEED)).all()


def test_a_film_is_not_offered_to_the_same_user_every_day(day: Day) -> None:
    offered = []
    for index in (DAY, DAY + 1):
        sessions = draw_sessions(day.demand, index)
        shown = fill_slates(day.demand, sessions, index)
        session, cell = np.nonzero(shown.is_shown)
        films = day.demand.titles.kind[shown.title[session, cell]] == MOVIE
        pairs = zip(sessions.user[session], shown.title[session, cell], strict=True)
        offered.append({pair for pair, is_film in zip(pairs, films, strict=True) if is_film})

    assert not offered[0] & offered[1]


def test_pages_do_not_depend_on_how_many_sessions_are_looked_at_together(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slates, "_BLOCK", 37)

    in_small_blocks = fill_slates(day.demand, day.sessions, DAY)

    np.testing.assert_array_equal(in_small_blocks.title, day.slates.title)
    np.testing.assert_array_equal(in_small_blocks.utility, day.slates.utility)


def test_raw_bits_are_the_integers_that_the_generator_draws() -> None:
    by_bits, by_integers = stream(7, "slates", 3), stream(7, "slates", 3)

    for num_sessions in (1, 37, 512):
        expected = by_integers.integers(0, 1 << 16, (num_sessions, 320), dtype=np.uint32)
        np.testing.assert_array_equal(slates._integers(by_bits, num_sessions), expected)


def test_a_page_is_what_a_stable_sort_of_the_guesses_shows() -> None:
    rng = np.random.default_rng(5)
    counts = rng.integers(0, 12, 300)
    session = np.repeat(np.arange(300), counts)
    title = rng.integers(0, 400, len(session)).astype(np.int32)
    offers = slates.Offers(
        session=session, title=title, worth=rng.random(len(session)), num_sessions=300
    )

    best = slates._best(offers, np.random.default_rng(6))

    guess = offers.worth + np.random.default_rng(6).gumbel(size=len(session))
    for row in range(300):
        mine = np.flatnonzero(session == row)
        order = mine[np.argsort(-guess[mine], kind="stable")][:7]
        np.testing.assert_array_equal(best[row, : len(order)], order)
        assert (best[row, len(order) :] == len(session)).all()
