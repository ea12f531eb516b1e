"""One day of sessions of the simulated world: who comes when, and in what mood."""

from dataclasses import dataclass, fields
from datetime import timedelta

import numpy as np

from training.events.taste import Demand
from training.events.world import (
    DAY_US,
    DEVICES,
    MARKETS,
    SECOND_US,
    Flags,
    Floats,
    Ints,
    start_us,
    stream,
)

CANVASES = ("home", "search", "kids", "mobile_feed")
HOME, SEARCH, KIDS, MOBILE_FEED = range(4)
ROWS = (
    "continue_watching",
    "top_picks",
    "trending_now",
    "new_releases",
    "because_you_watched",
    "search_results",
    "feed",
)
CONTINUE, TOP_PICKS, TRENDING, NEW_RELEASES, BECAUSE, RESULTS, FEED = range(7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """Sessions of one day (S), by user."""

    user: Ints
    at_us: Ints
    device: Ints
    canvas: Ints
    is_continue: Flags
    """The user came to watch on; the first choice is the series they follow."""
    followed: Ints
    """The series the user follows, or -1."""
    taste: Floats
    """float[S, D]: the user's taste and the mood of the moment."""

    def part(self, rows: slice) -> "Sessions":
        """Return some of the sessions."""
        return Sessions(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @property
    def leads_with_followed(self) -> Flags:
        """Sessions whose page begins with the series that the user follows."""
        leads: Flags = ((self.canvas == HOME) | (self.canvas == KIDS)) & (self.followed >= 0)
        return leads


def draw_sessions(demand: Demand, day_index: int) -> Sessions:
    """Draw who comes when, on what device and to what end."""
    parameters, users = demand.parameters, demand.users
    rng = stream(parameters.seed, "sessions", day_index)
    day = parameters.first_day + timedelta(days=day_index)
    weekly = 1.3 if day.weekday() >= 5 else 0.88
    rate = parameters.sessions_per_user_day * weekly * users.activity
    count = np.minimum(rng.poisson(rate), 6)
    count[users.joined > day_index] = 0
    user = np.repeat(np.arange(parameters.num_users), count)
    size = len(user)
    device = users.devices[user, (rng.random(size) < 0.25).astype(np.int64)]
    present = np.flatnonzero(count)
    followed = np.repeat(demand.followed(present, day_index), count[present])
    is_kids = users.is_kids[user]
    is_continue = (followed >= 0) & (rng.random(size) < 0.3)
    intent = rng.random(size)
    on_phone = device == DEVICES.index("mobile")
    canvas = np.where(intent < 0.15, SEARCH, np.where(on_phone & (intent > 0.6), MOBILE_FEED, HOME))
    canvas = np.where(is_continue, HOME, canvas)
    return Sessions(
        user=user,
        at_us=start_us(day) + _draw_time_of_day(users.market[user], rng),
        device=device,
        canvas=np.where(is_kids, KIDS, canvas),
        is_continue=is_continue,
        followed=followed,
        taste=_with_mood(demand, demand.tastes.at(user, day_index), rng),
    )


def _draw_time_of_day(market: Ints, rng: np.random.Generator) -> Ints:
    """Return µs since midnight UTC: mostly local evenings, some during the local day."""
    size = len(market)
    evening = rng.random(size) < 0.7
    local_h = np.where(evening, rng.normal(20.5, 1.8, size), rng.normal(13.0, 3.5, size))
    offset_h = np.array([one[3] for one in MARKETS])[market]
    seconds = ((local_h - offset_h) % 24.0) * 3600.0
    time: Ints = np.minimum((seconds * SECOND_US).astype(np.int64), DAY_US - 1)
    return time


def _with_mood(demand: Demand, taste: Floats, rng: np.random.Generator) -> Floats:
    """Lean each session towards one genre, mostly one that the user likes."""
    liking = 4.0 * taste @ demand.genre_factors.T
    mood = np.argmax(liking + rng.gumbel(size=liking.shape), axis=1)
    leaning = taste + 0.35 * demand.genre_factors.take(mood, axis=0)
    unit: Floats = leaning / np.linalg.norm(leaning, axis=1, keepdims=True)
    return unit
