"""What is known of real viewing logs holds for the simulated one; one world, read as a log.

Each tolerance is several times the sampling error of the figure in this world and far from what the
figure is without its mechanism, which each test names.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from training.events.simulated import SimulatedWorld
from training.events.world import MARKETS, Floats, Ints, WorldParameters

ALL_ARRIVED = datetime(2100, 1, 1, tzinfo=UTC)
PARAMETERS = WorldParameters(
    num_users=4_000,
    num_titles=600,
    num_days=22,
    sessions_per_user_day=1.0,
    late_rate=0.0,
    missing_id_rate=0.0,
    duplicate_rate=0.0,
    malformed_rate=0.0,
    unknown_item_rate=0.0,
    out_of_order_rate=0.0,
)


@dataclass(frozen=True)
class Log:
    world: SimulatedWorld
    events: pl.DataFrame

    def of(self, action: str) -> pl.DataFrame:
        return self.events.filter(pl.col("action") == action)

    @property
    def pages(self) -> pl.DataFrame:
        """The first impression of each page, with the hour that the user's clock shows."""
        shift = {market[0]: timedelta(hours=market[3]) for market in MARKETS}
        local = pl.col("occurred_at") + pl.col("country").replace_strict(
            shift, return_dtype=pl.Duration("us")
        )
        tops = self.of("impression").filter(pl.col("position") == 0)
        return tops.with_columns(local_hour=local.dt.hour(), day=pl.col("occurred_at").dt.date())


@pytest.fixture(scope="module")
def log() -> Log:
    world = SimulatedWorld(PARAMETERS)
    days = [world.first_day + timedelta(days=n) for n in range(PARAMETERS.num_days)]
    tables = [world.read_day(day, received_before=ALL_ARRIVED) for day in days]
    return Log(world, pl.concat([pl.DataFrame(table) for table in tables]))


def gini(values: Floats) -> float:
    """Return 0 where all are equal, towards 1 where one has everything."""
    ordered = np.sort(values)
    rank = np.arange(1, len(ordered) + 1)
    return float(((2 * rank - len(ordered) - 1) * ordered).sum() / (len(ordered) * ordered.sum()))


def test_popularity_falls_like_a_power_of_the_rank(log: Log) -> None:
    """Without the popularity of titles: slope -0.58, and the first tenth has 39 % of the plays."""
    count = log.of("play")["item_id"].value_counts(sort=True)["count"].to_numpy()
    rank = np.log(np.arange(5, 201))

    slope, level = np.polyfit(rank, np.log(count[4:200]), 1)

    residual = np.log(count[4:200]) - (slope * rank + level)
    assert -1.0 < slope < -0.7
    assert residual.std() < 0.15
    assert count[:60].sum() > 0.45 * count.sum()  # a tenth of the titles


def test_a_tenth_of_the_users_makes_two_fifths_of_the_visits(log: Log) -> None:
    """Without heavy-tailed activity: Gini 0.15, top tenth 14 %.

    Activity is lognormal with sigma 1: its Gini is 0.52, its top tenth has 39 %.
    """
    visits = log.pages["user_id"].value_counts()["count"].to_numpy()
    visits = np.concatenate([visits, np.zeros(PARAMETERS.num_users - len(visits))])

    assert gini(visits) == pytest.approx(0.52, abs=0.03)
    top = np.sort(visits)[-PARAMETERS.num_users // 10 :].sum() / visits.sum()
    assert top == pytest.approx(0.38, abs=0.03)


def test_each_market_watches_in_its_own_evening(log: Log) -> None:
    """Without the hour of day: an eighth of the pages in three hours, a quarter in six at night."""
    for country, *_ in MARKETS:
        hours = log.pages.filter(pl.col("country") == country)["local_hour"]
        share = np.bincount(hours.to_numpy(), minlength=24) / len(hours)

        assert share.argmax() in (19, 20, 21)
        assert share[19:22].sum() > 0.35
        assert share[1:7].sum() < 0.05


def test_weekends_are_busier_than_weekdays(log: Log) -> None:
    """Without the day of week: 1.0. The rates are 1.3 and 0.88, and nobody comes seven times."""
    by_day = log.pages.group_by("day").len().with_columns(weekday=pl.col("day").dt.weekday())
    weekend = by_day.filter(pl.col("weekday") >= 6)["len"].mean()
    weekday = by_day.filter(pl.col("weekday") < 6)["len"].mean()

    assert 1.35 < weekend / weekday < 1.3 / 0.88


def test_a_better_position_is_watched_more_at_equal_worth(log: Log) -> None:
    """Without the position bias: all slots as often as the worth of their titles says, and 0."""
    worth, chosen = lone_pages(log)
    taste_only = np.exp(1.2 * worth)
    taste_only /= taste_only.sum(axis=1, keepdims=True)

    watched = np.bincount(chosen, minlength=worth.shape[1]) / taste_only.sum(axis=0)

    assert len(worth) > 1_200
    assert (np.diff(watched) < 0).all()
    assert watched[0] > 2 * watched[-1]
    tried = np.arange(0.0, 2.0, 0.02)
    best = tried[np.argmax([likelihood(worth, chosen, bias) for bias in tried])]
    assert best == pytest.approx(0.9, abs=0.15)


def lone_pages(log: Log) -> tuple[Floats, Ints]:
    """Return the worth of slots 1 to 6 of home pages, [P, 6], and which of them was watched first.

    Pages of users who saw no other page on that day, so that what they watched was on it. Slot 0
    is left out: who came to watch on takes it whatever else there is, while among the others the
    first choice does not depend on it.
    """
    days = [log.world.first_day + timedelta(days=n) for n in range(12)]
    truth = pl.concat([pl.DataFrame(log.world.truth.impressions(day)) for day in days])
    page = ["user_id", "day"]
    day = pl.col("occurred_at").dt.date()
    shown = log.of("impression").join(truth.select("event_id", "utility"), on="event_id")
    shown = shown.filter(pl.col("canvas") == "home").with_columns(day=day)
    pages = shown.sort("position").group_by(page).agg("utility", "item_id")
    once = log.pages.group_by(page).len().filter(pl.col("len") == 1)
    pages = pages.join(once, on=page)
    plays = log.of("play").with_columns(day=day).sort("occurred_at")
    first = plays.group_by(page).agg(pl.col("position", "item_id").first().name.prefix("watched_"))
    both = pages.join(first, on=page).filter(pl.col("utility").list.len() == 7)
    slot = pl.col("watched_position").cast(pl.Int64)
    is_there = pl.col("item_id").list.get(slot) == pl.col("watched_item_id")
    kept = both.filter(is_there, slot > 0)
    slots = kept["watched_position"].cast(pl.Int64).to_numpy() - 1
    return kept["utility"].list.to_array(7).to_numpy()[:, 1:], slots


def likelihood(worth: Floats, chosen: Ints, bias: float) -> float:
    score = 1.2 * worth - bias * np.log2(2.0 + np.arange(worth.shape[1]))
    return float((score[np.arange(len(chosen)), chosen] - np.log(np.exp(score).sum(1))).sum())


def test_most_sessions_are_short_and_some_take_an_evening(log: Log) -> None:
    """Without drawn lengths, half an hour each: the logarithm of the time watched spreads by 0.5
    and leans to the right. With them it spreads by more than 1 and has its tail on the left:
    what is watched through is an episode or a film long, what is given up is minutes long."""
    silence = pl.col("occurred_at").diff() > timedelta(hours=3)
    events = log.events.sort("user_id", "occurred_at").with_columns(
        visit=(silence | (pl.col("user_id") != pl.col("user_id").shift()))
        .fill_null(value=True)
        .cum_sum()
    )
    is_page = (pl.col("action") == "impression") & (pl.col("position") == 0)
    watch = pl.col("watch_duration").filter(pl.col("action") == "play")
    visits = events.group_by("visit").agg(
        minutes=watch.sum() / 60_000, plays=watch.len(), pages=is_page.sum()
    )
    alone = visits.filter(pl.col("pages") == 1)
    watched = alone.filter(pl.col("plays") > 0)["minutes"].to_numpy()
    spread = np.log(watched) - np.log(watched).mean()

    assert 0.2 < (alone["plays"] == 0).mean() < 0.4
    assert 40 < np.median(watched) < 75
    assert watched.mean() > 1.2 * np.median(watched)
    assert np.quantile(watched, 0.9) > 2.5 * np.median(watched)
    assert 1.2 < spread.std() < 1.7
    assert (spread**3).mean() / spread.std() ** 3 < -0.7


def test_titles_launch_weekly_and_fade(log: Log) -> None:
    """Without freshness: what launched has 2 % of the plays, its share of the titles, and grows."""
    items = (
        pl.DataFrame(log.world.catalogue(as_of=ALL_ARRIVED))
        .group_by("item_id")
        .agg(pl.col("valid_from").min(), pl.col("kind").first())
    )
    launched = items.filter(pl.col("valid_from").dt.date() >= log.world.first_day)
    weekday = launched["valid_from"].dt.weekday()
    cohort = launched.filter(
        pl.col("valid_from").dt.date() == log.world.first_day + timedelta(days=1)
    )
    plays = (
        log.of("play")
        .group_by(pl.col("occurred_at").dt.date())
        .agg(share=pl.col("item_id").is_in(cohort["item_id"].to_list()).mean())
    )
    share = plays.sort("occurred_at")["share"].to_numpy()

    assert launched.height == 3 * 12
    assert (weekday == np.where(launched["kind"] == "live", 6, 1)).all()
    assert share[0] == 0.0
    assert share[1:8].mean() > 2 * cohort.height / PARAMETERS.num_titles
    assert share[1:8].mean() > 1.3 * share[15:].mean()
