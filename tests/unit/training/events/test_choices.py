from dataclasses import dataclass, replace

import numpy as np
import pytest

from training.events.choices import Viewings, choose
from training.events.sessions import HOME, Sessions, draw_sessions
from training.events.simulated import SimulatedWorld
from training.events.slates import Slates, fill_slates
from training.events.taste import Demand
from training.events.titles import MOVIE
from training.events.world import WorldParameters

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
