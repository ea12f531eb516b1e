"""The propensities are those of the mechanism: counted in replications, and used to weigh.

Counts are compared with sums of probabilities. A sum of independent draws with probabilities p has
the variance sum(p (1 - p)); what is counted must lie within four standard deviations, which a right
implementation leaves in one of 16,000 comparisons. Everything is seeded, so nothing flickers.
"""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from training.errors import NoDataError
from training.events.choices import choice_propensities, choose
from training.events.sessions import Sessions, draw_sessions
from training.events.simulated import SimulatedWorld
from training.events.slates import Offers, Slates, _best, _standing, draw_pages, fill_slates
from training.events.world import Floats, WorldParameters

DAY = 5
LIMIT = 4.0
ALL_ARRIVED = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def world() -> SimulatedWorld:
    return SimulatedWorld(
        WorldParameters(
            num_users=900, num_titles=300, num_days=8, sessions_per_user_day=1.0, missing_id_rate=0
        )
    )


@pytest.fixture(scope="module")
def pages(world: SimulatedWorld) -> tuple[Sessions, Slates]:
    sessions = draw_sessions(world._demand, DAY)
    return sessions, fill_slates(world._demand, sessions, DAY)


@pytest.fixture(scope="module")
def impressions(world: SimulatedWorld) -> pl.DataFrame:
    return frame(world.truth.impressions(day_of(world)))


def day_of(world: SimulatedWorld, index: int = DAY) -> date:
    return world.first_day + timedelta(days=index)


def frame(table: pa.Table) -> pl.DataFrame:
    rows = pl.from_arrow(table)
    assert isinstance(rows, pl.DataFrame)
    return rows


def deviations(counted: Floats, probability: Floats) -> Floats:
    """Return by how many standard deviations sums over the first axis differ."""
    spread = np.sqrt((probability * (1 - probability)).sum(axis=0))
    return (counted.sum(axis=0) - probability.sum(axis=0)) / np.maximum(spread, 1e-9)


def test_pairs_have_the_worth_that_the_matrix_has(world: SimulatedWorld) -> None:
    users, items, worth = world.truth.relevance(day_of(world))
    rng = np.random.default_rng(1)
    user, item = rng.integers(0, len(users), 500), rng.integers(0, len(items), 500)

    pairs = world.truth.relevance_of(
        day_of(world), pa.array(users).take(user), pa.array(items).take(item)
    )

    np.testing.assert_allclose(pairs, worth[user, item])
    assert np.isneginf(pairs).any()


def test_what_is_not_of_the_world_is_named_or_worth_nothing(world: SimulatedWorld) -> None:
    nobody, someone = pa.array(["nobody"]), pa.array(["u000001"])

    assert np.isneginf(world.truth.relevance_of(day_of(world), someone, pa.array(["t9"]))).all()
    with pytest.raises(NoDataError, match="1 users are not of this world"):
        world.truth.relevance_of(day_of(world), nobody, pa.array(["t00001"]))
    with pytest.raises(NoDataError, match="there is no day"):
        world.truth.impressions(day_of(world, 8))


def test_impressions_are_those_of_the_log(world: SimulatedWorld, impressions: pl.DataFrame) -> None:
    days = [world.read_day(day_of(world, n), received_before=ALL_ARRIVED) for n in (DAY, DAY + 1)]
    log = pl.concat([frame(day) for day in days]).unique("event_id")

    both = impressions.join(log, on="event_id", suffix="_of_log")

    assert both.height == impressions.height
    assert set(both["action"]) <= {"impression", "plya"}
    for column in ("user_id", "item_id", "position"):
        assert (both[column] == both[f"{column}_of_log"].cast(both[column].dtype)).all()


def test_propensities_are_probabilities(impressions: pl.DataFrame) -> None:
    for column in ("slate_propensity", "first_choice_propensity", "choice_propensity"):
        assert impressions[column].is_between(0, 1 + 1e-12).all()
    by_session = impressions.group_by("session").agg(
        pl.col("first_choice_propensity", "choice_propensity").sum()
    )
    assert (by_session["first_choice_propensity"] <= 1 + 1e-9).all()
    assert (by_session["choice_propensity"] <= 2 + 1e-9).all()


def test_pages_are_as_likely_as_they_say() -> None:
    """One session's nine offers, 40,000 times: each position given those above it."""
    times, worth = 40_000, np.array([2.0, 1.5, 1.0, 0.0, -0.5, -1.0, 0.3, 0.3, 1.2])
    offers = Offers(
        session=np.repeat(np.arange(times), len(worth)),
        title=np.tile(np.arange(len(worth), dtype=np.int32), times),
        worth=np.tile(worth, times),
        num_sessions=times,
    )

    best = _best(offers, np.random.default_rng(4))
    said = _standing(offers, best)

    title = best % len(worth)
    first = np.exp(worth) / np.exp(worth).sum()
    np.testing.assert_allclose(said[:, 0], first[title[:, 0]])
    for position in range(7):
        for one in range(len(worth)):
            is_left = (title[:, :position] != one).all(axis=1)
            left = np.exp(np.where((title == one)[:, :position].any(axis=1), 0.0, worth[one]))
            above = np.exp(worth[title[:, :position]]).sum(axis=1)
            chance = np.where(is_left, left / (np.exp(worth).sum() - above), 0.0)
            stands = title[:, position] == one
            np.testing.assert_allclose(said[stands, position], chance[stands])
            assert abs(deviations(stands, chance)) < LIMIT


def test_titles_top_the_logged_pages_as_often_as_they_should(
    world: SimulatedWorld, impressions: pl.DataFrame
) -> None:
    sessions = draw_sessions(world._demand, DAY)
    free = np.flatnonzero(~sessions.leads_with_followed)
    offers = frame(world.truth.offers(day_of(world))).filter(pl.col("session").is_in(free))
    top = impressions.filter(pl.col("position") == 0, pl.col("session").is_in(free))
    tops = offers.join(top, on=["session", "item_id"], how="left", suffix="_of_page")
    is_top, said = tops["position"].is_not_null().to_numpy(), tops["slate_propensity"].to_numpy()

    assert is_top.sum() == pytest.approx(said.sum()) == len(free)
    for tenth in np.array_split(np.argsort(said), 10):
        assert abs(deviations(is_top[tenth], said[tenth])) < LIMIT
    joined = top.join(offers, on=["session", "item_id"], suffix="_of_offer")
    assert joined.height == top.height
    np.testing.assert_allclose(joined["slate_propensity"], joined["slate_propensity_of_offer"])


def test_exposures_average_propensities_over_other_offers(world: SimulatedWorld) -> None:
    """A title that topped a page with propensity q(O) tops another one with E q(O).

    So the mean share at the top is that of sum(E[q]^2), at most E[sum(q^2)]: what is shown again
    under the same offers is shown again less often under others.
    """
    offers = frame(world.truth.offers(day_of(world)))
    exposures = frame(world.truth.exposures(day_of(world), replications=30))
    shown = frame(world.truth.impressions(day_of(world))).join(exposures, on="event_id")
    leads = draw_sessions(world._demand, DAY).leads_with_followed
    top = shown.filter(pl.col("position") == 0)
    is_led = pl.Series(leads[top["session"].to_numpy()])

    again = offers.group_by("session").agg(pl.col("slate_propensity").pow(2).sum())
    again = again.filter(~pl.Series(leads[again["session"].to_numpy()]))
    same_offers = again["slate_propensity"].mean()
    assert 0.3 * same_offers < top.filter(~is_led)["position_share"].mean() < same_offers
    assert (top.filter(is_led)["position_share"] == 1.0).all()
    assert (top.filter(is_led)["slate_propensity"] == 1.0).all()
    assert (shown["page_share"] >= shown["position_share"]).all()


def test_choices_are_as_likely_as_they_say(
    world: SimulatedWorld, pages: tuple[Sessions, Slates]
) -> None:
    """One day's pages, 300 times: by position, and by tenths of the propensities."""
    sessions, slates = pages
    first, watched = choice_propensities(world._demand, sessions, slates, DAY)
    firsts, alls = np.zeros(first.shape), np.zeros(first.shape)
    times = 300
    for replication in range(1, times + 1):
        viewings = choose(world._demand, sessions, slates, DAY, replication=replication)
        is_there = slates.title[viewings.session, viewings.position] == viewings.title
        session, position = viewings.session[is_there], viewings.position[is_there]
        is_first = np.diff(viewings.session, prepend=-1)[is_there] > 0
        alls[session, position] += 1
        firsts[session[is_first], position[is_first]] += 1

    for counted, said in ((firsts, first), (alls, watched)):
        spread = np.sqrt(times * (said * (1 - said)))
        assert (counted[said == 0] == 0).all()
        assert (counted[said == 1] == times).all()
        for tenth in np.array_split(np.argsort(said.ravel()), 10):
            total = counted.ravel()[tenth].sum() - times * said.ravel()[tenth].sum()
            assert abs(total) <= LIMIT * np.sqrt((spread.ravel()[tenth] ** 2).sum())
        for position in range(first.shape[1]):
            total = (counted - times * said)[:, position].sum()
            assert abs(total) <= LIMIT * np.sqrt((spread[:, position] ** 2).sum())
        # one by one: 5.5 standard deviations, since there are thousands
        common = spread > 3
        assert common.sum() > 1_000
        assert (np.abs(counted - times * said)[common] < 5.5 * spread[common]).all()


def test_inverse_propensities_give_the_value_of_another_policy(world: SimulatedWorld) -> None:
    """What a policy that looks less at worth would earn at the top of a page, from this one's log.

    The mean over 200 fillings of the same offers, against the value, which the offers tell.
    """
    sessions = draw_sessions(world._demand, DAY)
    _, offers, _ = next(draw_pages(world._demand, sessions, DAY))
    reward = 1.0 / (1.0 + np.exp(-offers.worth / 4.0))
    other = np.exp(0.7 * (offers.worth - offers.worth.max()))
    other /= np.bincount(offers.session, weights=other)[offers.session]
    value = (other * reward).sum() / offers.num_sessions
    noise = np.random.default_rng(8)

    weighed, naive = [], []
    for _ in range(200):
        best = _best(offers, noise)
        top, logged = best[:, 0], _standing(offers, best)[:, 0]
        weighed.append((other[top] / logged * reward[top]).mean())
        naive.append(reward[top].mean())

    error = np.std(weighed, ddof=1) / np.sqrt(len(weighed))
    assert abs(np.mean(weighed) - value) < LIMIT * error
    assert error < 0.01 * value
    assert np.mean(naive) - value > 10 * error
