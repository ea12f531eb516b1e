from dataclasses import dataclass, replace

import numpy as np
import pytest

from training.events import sessions
from training.events.sessions import (
    CONTINUE,
    FEED,
    HOME,
    KIDS,
    MOBILE_FEED,
    RESULTS,
    SEARCH,
    Sessions,
    Slates,
    Viewings,
    choose,
    draw_sessions,
    fill_slates,
)
from training.events.simulated import SimulatedWorld
from training.events.taste import Demand
from training.events.titles import GAME, MOVIE
from training.events.world import DAY_US, DEVICES, WorldParameters, start_us

DAY = 9


@dataclass(frozen=True)
class Day:
    demand: Demand
    sessions: Sessions
    slates: Slates
    viewings: Viewings


@pytest.fixture(scope="module")
def day() -> Day:
    parameters = WorldParameters(num_users=3_000, num_titles=400, sessions_per_user_day=1.0)
    demand = SimulatedWorld(parameters)._demand
    sessions = draw_sessions(demand, DAY)
    slates = fill_slates(demand, sessions, DAY)
    return Day(demand, sessions, slates, choose(demand, sessions, slates, DAY))


def test_sessions_begin_on_their_day_and_never_before_the_user_joined(day: Day) -> None:
    begins = start_us(day.demand.parameters.first_day) + DAY * DAY_US

    assert ((day.sessions.at_us >= begins) & (day.sessions.at_us < begins + DAY_US)).all()
    assert (day.demand.users.joined[day.sessions.user] <= DAY).all()


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


def test_what_is_watched_stood_on_the_page_or_is_the_sequel(day: Day) -> None:
    seen = [set(titles.tolist()) for titles in day.slates.title]
    off_page = [
        index
        for index, (session, title) in enumerate(
            zip(day.viewings.session, day.viewings.title, strict=True)
        )
        if title not in seen[session]
    ]

    assert len(off_page) < 0.1 * len(seen)
    for index in off_page:
        assert day.demand.titles.sequel[day.viewings.title[index - 1]] == day.viewings.title[index]
        assert day.viewings.session[index - 1] == day.viewings.session[index]
        assert day.demand.titles.kind[day.viewings.title[index]] == MOVIE


def test_who_came_to_watch_on_does(day: Day) -> None:
    came = np.flatnonzero(day.sessions.is_continue & day.slates.is_shown[:, 0])
    watched_on = day.viewings.session[day.viewings.is_followed]

    assert np.isin(came, watched_on).all()


def test_better_positions_are_chosen_more_at_equal_worth(day: Day) -> None:
    equal = replace(day.slates, utility=np.zeros(day.slates.utility.shape))
    undecided = replace(day.sessions, is_continue=np.zeros(len(day.sessions.user), dtype=bool))
    viewings = choose(day.demand, undecided, equal, DAY)
    on_home = day.sessions.canvas[viewings.session] == HOME
    chosen = np.bincount(viewings.position[on_home], minlength=7)

    assert chosen[0:2].sum() > 2 * chosen[5:7].sum()


def test_a_film_is_not_offered_to_the_same_user_every_day(day: Day) -> None:
    offered = []
    for index in (DAY, DAY + 1):
        sessions = draw_sessions(day.demand, index)
        slates = fill_slates(day.demand, sessions, index)
        session, cell = np.nonzero(slates.is_shown)
        films = day.demand.titles.kind[slates.title[session, cell]] == MOVIE
        pairs = zip(sessions.user[session], slates.title[session, cell], strict=True)
        offered.append({pair for pair, is_film in zip(pairs, films, strict=True) if is_film})

    assert not offered[0] & offered[1]


def test_pages_do_not_depend_on_how_many_sessions_are_looked_at_together(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_BLOCK", 37)

    in_small_blocks = fill_slates(day.demand, day.sessions, DAY)

    np.testing.assert_array_equal(in_small_blocks.title, day.slates.title)
    np.testing.assert_array_equal(in_small_blocks.utility, day.slates.utility)


def test_the_smallest_values_are_those_of_a_stable_sort() -> None:
    rng = np.random.default_rng(5)
    values = np.where(rng.random((400, 30)) < 0.7, np.inf, rng.random((400, 30)))

    expected = np.argsort(values, axis=1, kind="stable")[:, :7]

    np.testing.assert_array_equal(sessions._smallest(values, 7), expected)
