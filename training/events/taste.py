"""What users of the simulated world want: drifting tastes, appeal of titles, series they follow."""

from dataclasses import dataclass

import numpy as np

from training.events.titles import GAME, LIVE, MOVIE, SERIES, Titles
from training.events.world import (
    DAY_US,
    MARKETS,
    Codes,
    Floats,
    Ints,
    Users,
    WorldParameters,
    gumbel,
    hashed,
    hashed_uniform,
    start_us,
    stream,
)

_NUM_COMMUNITIES = 30
# How much each part weighs in a utility; chosen so that tastes matter most and hits still exist.
_TASTE_WEIGHT = 14.0
_LANGUAGE_WEIGHT = 1.5
_APPEAL_WEIGHT = 0.5
_FRESHNESS = 2.0
# days after which the freshness of a launch has halved
_HALF_LIFE_DAYS = {MOVIE: 6.0, SERIES: 8.0, GAME: 14.0, LIVE: 1.0}
_PLAN_CHOICES = 24
_SEQUEL_SHARE = 0.7
_CELLS = 1 << 14
_BLOCK = 1 << 11
"""Users looked at together: few enough for their choices to stay in a processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tastes:
    """Users' positions in the latent space: a home and a slow circle around it."""

    home: Floats
    """float[U, D]."""
    swing: Floats
    """float[U, 2, D]: the plane of the drift."""
    period_days: Floats
    phase: Floats

    def at(self, users: Ints, day_index: Ints | int) -> Floats:
        """Return unit taste vectors, float[len(users), D], on a day of the world (or one each)."""
        angle = 2 * np.pi * (np.asarray(day_index) / self.period_days[users] + self.phase[users])
        swing = self.swing.take(users, axis=0)
        drift = np.cos(angle)[:, None] * swing[:, 0] + np.sin(angle)[:, None] * swing[:, 1]
        taste = self.home.take(users, axis=0) + drift
        unit: Floats = taste / np.linalg.norm(taste, axis=1, keepdims=True)
        return unit


def draw_tastes(parameters: WorldParameters, titles: Titles) -> Tastes:
    """Draw tastes: communities near titles that exist, users near their community."""
    rng = stream(parameters.seed, "tastes")
    count, dim = parameters.num_users, titles.factors.shape[1]
    centres = titles.factors[rng.choice(parameters.num_titles, _NUM_COMMUNITIES, replace=False)]
    share = 1.0 / (1.0 + np.arange(_NUM_COMMUNITIES)) ** 0.7
    community = rng.choice(_NUM_COMMUNITIES, count, p=share / share.sum())
    own = rng.normal(size=(count, dim)) / np.sqrt(dim)
    return Tastes(
        home=centres[community] + 0.6 * own,
        swing=0.45 * rng.normal(size=(count, 2, dim)) / np.sqrt(dim),
        period_days=rng.uniform(25.0, 80.0, count),
        phase=rng.random(count),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Who would like what, and when."""

    parameters: WorldParameters
    users: Users
    titles: Titles
    tastes: Tastes
    genre_factors: Floats
    speaks: Floats
    """float[markets, T]: 1 where the title's language is the market's."""

    def appeal(self, day_index: int) -> Floats:
        """Return the log weight of every title on a day, -inf where it cannot be watched."""
        begins = start_us(self.parameters.first_day) + day_index * DAY_US
        age_days = (begins - self.titles.available_from) / DAY_US
        half_life = np.array([_HALF_LIFE_DAYS[kind] for kind in range(4)])[self.titles.kind]
        fresh = np.exp2(-np.maximum(age_days, 0.0) / half_life)
        stale = np.where(self.titles.kind == LIVE, 2.0, 0.0)  # hardly anyone watches a replay
        appeal = self.titles.popularity + (_FRESHNESS + stale) * fresh - stale
        # a title is watchable on whole days only, so no event can precede its launch
        watchable = (age_days >= 0) & (self.titles.available_to >= begins + 2 * DAY_US)
        return np.where(watchable, appeal, -np.inf)

    def utility(self, users: Ints, taste: Floats, titles: Ints | Codes, appeal: Floats) -> Floats:
        """Return float[n]: what each of ``titles`` is worth to each of ``users``, pair by pair."""
        affinity = np.einsum("nd,nd->n", self.titles.factors.take(titles, axis=0), taste)
        market = self.users.market.take(users)
        speaks = self.speaks.ravel().take(market * self.speaks.shape[1] + titles)
        liking = _TASTE_WEIGHT * affinity + _LANGUAGE_WEIGHT * speaks
        worth: Floats = liking + _APPEAL_WEIGHT * appeal.take(titles)
        return worth

    def utilities(self, day_index: int) -> Floats:
        """Return float[U, T]: what every title is worth to every user on a day (ground truth)."""
        everyone = np.arange(self.parameters.num_users)
        affinity = self.tastes.at(everyone, day_index) @ self.titles.factors.T
        speaks = self.speaks[self.users.market]
        appeal = self.appeal(day_index)
        return _TASTE_WEIGHT * affinity + _LANGUAGE_WEIGHT * speaks + _APPEAL_WEIGHT * appeal

    def followed(self, users: Ints, day_index: int) -> Ints:
        """Return the series that each user is in the middle of on a day, or -1.

        A user follows one series for a block of days. Blocks come in pairs: the second one of a
        pair is often the sequel of the first. So a day's series needs no other day's events.
        """
        length = 3 + (hashed(self.parameters.seed, 1, users) % np.uint64(5)).astype(np.int64)
        shift = (hashed(self.parameters.seed, 2, users) % length.astype(np.uint64)).astype(np.int64)
        block = (day_index + shift) // length
        begins = block * length - shift
        goes_on = hashed_uniform(self.parameters.seed, 3, users, block) < _SEQUEL_SHARE
        series = np.full(len(users), -1)
        second = np.flatnonzero((block % 2 == 1) & goes_on)
        opener = self._pick_series(users[second], block[second] - 1, (begins - length)[second])
        sequel = np.where(opener >= 0, self.titles.sequel[opener], -1)
        is_out = (sequel >= 0) & (self._launch_index(sequel) <= begins[second])
        series[second] = np.where(is_out, sequel, -1)
        # nobody's sequel: a series of the block's own
        rest = np.flatnonzero(series < 0)
        series[rest] = self._pick_series(users[rest], block[rest], begins[rest])
        return series

    def _launch_index(self, titles: Ints) -> Ints:
        first = start_us(self.parameters.first_day)
        index: Ints = (self.titles.available_from[titles] - first) // DAY_US
        return index

    def _pick_series(self, users: Ints, block: Ints, begins: Ints) -> Ints:
        """Return the best of some series that were out when the block began, or -1."""
        series = np.flatnonzero(self.titles.kind == SERIES)
        steps = _Steps.of(np.cumsum(np.exp(0.7 * self.titles.popularity[series])))
        picked = np.empty(len(users), dtype=np.int64)
        for start in range(0, len(users), _BLOCK):
            at = slice(start, start + _BLOCK)
            picked[at] = self._pick_from(series, steps, users[at], block[at], begins[at])
        return picked

    def _pick_from(
        self, series: Ints, steps: "_Steps", users: Ints, block: Ints, begins: Ints
    ) -> Ints:
        keys = (users[:, None], block[:, None], np.arange(_PLAN_CHOICES)[None, :])
        titles = series.take(steps.reached(hashed_uniform(self.parameters.seed, 4, *keys)))
        taste = np.repeat(self.tastes.at(users, begins), _PLAN_CHOICES, axis=0)
        each = np.repeat(users, _PLAN_CHOICES)
        utility = self.utility(each, taste, titles.ravel(), self.titles.popularity)
        noise = gumbel(hashed_uniform(self.parameters.seed, 5, *keys))
        utility = utility.reshape(titles.shape) + noise
        allowed = self._launch_index(titles) <= begins[:, None]
        allowed &= self.titles.is_kids[titles] | ~self.users.is_kids[users][:, None]
        utility = np.where(allowed, utility, -np.inf)
        best = np.argmax(utility, axis=1)
        rows = np.arange(len(users))
        return np.where(np.isfinite(utility[rows, best]), titles[rows, best], -1)


@dataclass(frozen=True, slots=True)
class _Steps:
    """Cumulative weights, and where a search among them ends for most draws: a table, for speed."""

    cumulative: Floats
    below: Ints
    """The first step at or above each of ``_CELLS`` + 1 equally spaced points."""

    @classmethod
    def of(cls, cumulative: Floats) -> "_Steps":
        points = np.arange(_CELLS + 1) / _CELLS * cumulative[-1]
        return cls(cumulative, np.searchsorted(cumulative, points))

    def reached(self, uniform: Floats) -> Ints:
        """Return the first step at or above each draw: ``np.searchsorted``."""
        cell = (uniform * _CELLS).astype(np.int64)
        step: Ints = self.below.take(cell)
        is_open = np.flatnonzero(step != self.below.take(cell + 1, mode="clip"))
        drawn = uniform.ravel().take(is_open) * self.cumulative[-1]
        step.ravel()[is_open] = np.searchsorted(self.cumulative, drawn)
        return step


def build_demand(
    parameters: WorldParameters, users: Users, titles: Titles, genre_factors: Floats
) -> Demand:
    """Draw tastes and join them with users and titles."""
    languages = np.array([market[2] for market in MARKETS])
    return Demand(
        parameters=parameters,
        users=users,
        titles=titles,
        tastes=draw_tastes(parameters, titles),
        genre_factors=genre_factors,
        speaks=(languages[:, None] == np.array(titles.language)[None, :]).astype(np.float64),
    )
