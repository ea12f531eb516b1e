import numpy as np
import pytest

from training.events.choices import choose
from training.events.sessions import draw_sessions
from training.events.simulated import SimulatedWorld
from training.events.slates import fill_slates
from training.events.titles import MOVIE, SERIES
from training.events.viewing import (
    IMPRESSION,
    LIST_ADD,
    PLAY,
    THUMB_DOWN,
    THUMB_UP,
    TRAILER,
    Happenings,
    _cumulated_within,
    _split,
    act,
)
from training.events.world import SECOND_US, WorldParameters

DAY = 3


@pytest.fixture(scope="module")
def world() -> SimulatedWorld:
    return SimulatedWorld(WorldParameters(num_users=3_000, num_titles=300))


@pytest.fixture(scope="module")
def events(world: SimulatedWorld) -> Happenings:
    demand = world._demand
    sessions = draw_sessions(demand, DAY)
    slates = fill_slates(demand, sessions, DAY)
    return act(demand, sessions, slates, choose(demand, sessions, slates, DAY), DAY)


def test_every_action_happens_impressions_most(events: Happenings) -> None:
    counts = np.bincount(events.action, minlength=6)

    assert (counts > 0).all()
    assert counts[IMPRESSION] > counts[PLAY] > counts[TRAILER]
    assert counts[THUMB_UP] > counts[THUMB_DOWN]


def test_only_plays_and_trailers_have_a_duration(events: Happenings) -> None:
    timed = np.isin(events.action, (PLAY, TRAILER))

    assert (events.watched_ms[timed] > 0).all()
    assert (events.watched_ms[~timed] == -1).all()


def test_a_play_is_logged_at_its_end(world: SimulatedWorld, events: Happenings) -> None:
    sessions = draw_sessions(world._demand, DAY)
    is_play = events.action == PLAY
    began = events.at_us[is_play] - events.watched_ms[is_play] * 1_000

    assert (began >= sessions.at_us[events.session[is_play]]).all()


def test_segments_of_one_session_follow_each_other(events: Happenings) -> None:
    is_play = events.action == PLAY
    session, at_us = events.session[is_play], events.at_us[is_play]
    began = at_us - events.watched_ms[is_play] * 1_000
    same = session[1:] == session[:-1]

    assert same.sum() > 100
    assert (began[1:] >= at_us[:-1])[same].all()


def test_films_are_paused_and_episodes_follow_within_minutes(
    world: SimulatedWorld, events: Happenings
) -> None:
    is_play = events.action == PLAY
    session, title, at_us = events.session[is_play], events.title[is_play], events.at_us[is_play]
    gap_s = (at_us[1:] - events.watched_ms[is_play][1:] * 1_000 - at_us[:-1]) / SECOND_US
    adjacent = (session[1:] == session[:-1]) & (title[1:] == title[:-1])

    for kind in (MOVIE, SERIES):
        gaps = gap_s[adjacent & (world._titles.kind[title[1:]] == kind)]
        assert len(gaps) > 50
        assert 0 < np.median(gaps) < 15 * 60


def test_nobody_watches_more_of_a_film_than_there_is(
    world: SimulatedWorld, events: Happenings
) -> None:
    is_film = (events.action == PLAY) & (world._titles.kind[events.title] == MOVIE)
    runtime_ms = world._titles.runtime_s[events.title[is_film]] * 1_000
    key = events.session[is_film] * 10_000 + events.title[is_film]
    _, viewing = np.unique(key, return_inverse=True)
    total = np.bincount(viewing, weights=events.watched_ms[is_film])
    longest = np.zeros(len(total))
    longest[viewing] = runtime_ms

    assert (total <= longest + 1).all()
    assert 0.3 < (total > 0.85 * longest).mean() < 0.9


def test_list_additions_were_shown_and_thumbs_were_watched(events: Happenings) -> None:
    pairs = np.stack([events.session, events.title], axis=1)

    def on(action: int) -> set[tuple[int, ...]]:
        return set(map(tuple, pairs[events.action == action].tolist()))

    assert on(LIST_ADD) <= on(IMPRESSION)
    assert on(TRAILER) <= on(IMPRESSION)
    assert on(THUMB_UP) | on(THUMB_DOWN) <= on(PLAY)


def test_segments_add_up_to_the_total() -> None:
    total_s, num_segments = np.array([10.0, 7.0, 90.0]), np.array([1, 3, 2])

    parts = _split(total_s, num_segments, np.random.default_rng(0))

    np.testing.assert_allclose(np.add.reduceat(parts, [0, 1, 4]), total_s)
    assert (parts > 0).all()


def test_running_sums_restart_with_every_group() -> None:
    group, step = np.array([2, 2, 5, 6, 6, 6]), np.array([3, 1, 4, 1, 5, 9])

    assert _cumulated_within(group, step).tolist() == [3, 4, 4, 1, 6, 15]
