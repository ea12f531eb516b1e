import numpy as np
import pytest

from training.events import taste
from training.events.simulated import SimulatedWorld
from training.events.taste import Demand
from training.events.titles import SERIES
from training.events.world import DAY_US, WorldParameters, start_us


@pytest.fixture(scope="module")
def demand() -> Demand:
    return SimulatedWorld(WorldParameters(num_users=1_000, num_titles=300))._demand


def everyone(demand: Demand) -> np.ndarray:
    return np.arange(demand.parameters.num_users)


def test_tastes_drift_slowly(demand: Demand) -> None:
    first, second, last = (demand.tastes.at(everyone(demand), day) for day in (0, 1, 24))

    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1.0)
    assert (first * second).sum(axis=1).mean() > 0.99
    assert 0.5 < (first * last).sum(axis=1).mean() < 0.97


def test_nothing_can_be_watched_before_its_launch_or_once_it_left(demand: Demand) -> None:
    for day in range(demand.parameters.num_days):
        begins = start_us(demand.parameters.first_day) + day * DAY_US
        watchable = np.isfinite(demand.appeal(day))

        assert (demand.titles.available_from[watchable] <= begins).all()
        assert (demand.titles.available_to[watchable] >= begins + DAY_US).all()


def test_a_launch_lifts_appeal_and_fades(demand: Demand) -> None:
    launched = demand.titles.available_from == start_us(demand.parameters.first_day) + DAY_US
    title = np.flatnonzero(launched & (demand.titles.kind == SERIES))[0]

    fresh, week_old = demand.appeal(1)[title], demand.appeal(9)[title]

    assert not np.isfinite(demand.appeal(0)[title])
    assert fresh - week_old == pytest.approx(1.0)


def test_followed_series_last_for_days_and_then_change(demand: Demand) -> None:
    by_day = np.stack([demand.followed(everyone(demand), day) for day in range(20)])
    stays = (by_day[1:] == by_day[:-1]).mean()
    kinds = demand.titles.kind[by_day[by_day >= 0]]

    assert set(kinds) == {SERIES}
    assert 0.6 < stays < 0.9


def test_followed_series_were_out(demand: Demand) -> None:
    for day in range(demand.parameters.num_days):
        begins = start_us(demand.parameters.first_day) + day * DAY_US
        followed = demand.followed(everyone(demand), day)

        assert (demand.titles.available_from[followed[followed >= 0]] <= begins).all()


def test_sequels_are_often_what_is_followed_next(demand: Demand) -> None:
    by_day = np.stack([demand.followed(everyone(demand), day) for day in range(20)])
    before, after = by_day[:-1].ravel(), by_day[1:].ravel()
    had_sequel = (before >= 0) & (demand.titles.sequel[before] >= 0) & (before != after)

    share = (demand.titles.sequel[before] == after)[had_sequel].mean()

    assert share > 0.25  # by chance it would be one in a hundred


def test_kids_profiles_follow_what_kids_may_see(demand: Demand) -> None:
    kids = np.flatnonzero(demand.users.is_kids)
    followed = demand.followed(kids, 5)

    assert demand.titles.is_kids[followed[followed >= 0]].all()


def test_utilities_agree_pair_by_pair_and_as_a_matrix(demand: Demand) -> None:
    users, titles = np.array([3, 3, 8]), np.array([0, 9, 20])
    pairs = demand.utility(users, demand.tastes.at(users, 4), titles, demand.appeal(4))

    np.testing.assert_allclose(pairs, demand.utilities(4)[users, titles])


def test_a_table_of_steps_finds_what_a_search_finds() -> None:
    rng = np.random.default_rng(3)
    weight = np.cumsum(rng.random(60) ** 8)
    uniform = np.concatenate([rng.random(5_000), weight / weight[-1], [1.0]])[None, :]

    found = taste._Steps.of(weight).reached(uniform)

    np.testing.assert_array_equal(found, np.searchsorted(weight, uniform * weight[-1]))
