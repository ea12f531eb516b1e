"""One day of sessions of the simulated world: who comes, what they are shown, what they choose."""

from dataclasses import dataclass, fields
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from training.events.taste import Demand
from training.events.titles import GAME, MOVIE, SERIES
from training.events.world import (
    DAY_US,
    DEVICES,
    MARKETS,
    SECOND_US,
    Flags,
    Floats,
    Ints,
    hashed,
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

Codes = npt.NDArray[np.int32]

_SLATE = 7
_CANDIDATES = 320
# A movie is a candidate of one user on one day in eight only, so nobody is offered the same film
# every day; its weight makes up for that.
_MOVIE_ROTATION_DAYS = 8
_DRAWS = 1 << 16
_BLOCK = 1 << 10
"""Sessions whose candidates are looked at together: few enough to stay in a processor's cache."""
_POSITION_BIAS = 0.9
_CHOICE_SHARPNESS = 1.2
_TOUCH_DEVICES = (DEVICES.index("mobile"), DEVICES.index("tablet"))


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
        return np.isin(self.canvas, (HOME, KIDS)) & (self.followed >= 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slates:
    """What each session showed, by position: arrays [S, K]."""

    title: Ints
    row: Ints
    utility: Floats
    """-inf where nothing was shown."""

    @property
    def is_shown(self) -> Flags:
        """Positions that held a title."""
        return np.isfinite(self.utility)


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewings:
    """What was chosen to be watched (V), by session and order within it."""

    session: Ints
    title: Ints
    row: Ints
    position: Ints
    match: Floats
    """0 to 1: how well the title fits."""
    is_followed: Flags


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
    leaning = taste + 0.35 * demand.genre_factors[mood]
    unit: Floats = leaning / np.linalg.norm(leaning, axis=1, keepdims=True)
    return unit


def fill_slates(demand: Demand, sessions: Sessions, day_index: int) -> Slates:
    """Return the pages: the best of each session's candidates, as the service guesses them."""
    appeal = demand.appeal(day_index)
    num_sessions = len(sessions.user)
    draws = stream(demand.parameters.seed, "slates", day_index)
    # the noise follows all draws in the stream; two of them come from one step of the generator
    noise = stream(demand.parameters.seed, "slates", day_index)
    noise.bit_generator.advance(num_sessions * _CANDIDATES // 2)  # type: ignore[attr-defined]
    deck = _Deck.of(demand, appeal)
    title = np.empty((num_sessions, _SLATE), dtype=np.int64)
    shown = np.empty((num_sessions, _SLATE))
    for start in range(0, num_sessions, _BLOCK):
        block = sessions.part(slice(start, start + _BLOCK))
        candidates = _draw_candidates(deck, block, draws)
        at = slice(start, start + len(block.user))
        title[at], shown[at] = _best(demand, block, candidates, appeal, noise, day_index)
    _put_followed_first(demand, sessions, title, shown, appeal)
    fits_page = np.arange(_SLATE) < np.array([_SLATE, 4, _SLATE, 5])[sessions.canvas][:, None]
    shown = np.where(fits_page, shown, -np.inf)
    return Slates(title=title, row=_rows(demand, sessions, title, appeal, day_index), utility=shown)


def _best(
    demand: Demand,
    sessions: Sessions,
    candidates: Codes,
    appeal: Floats,
    noise: np.random.Generator,
    day_index: int,
) -> tuple[Ints, Floats]:
    """Return the titles that the service puts on each page and what they are worth, [S, K]."""
    session, cell = _allowed(demand, sessions, candidates, day_index)
    titles = candidates[session, cell].astype(np.int64)
    worth = demand.utility(sessions.user[session], sessions.taste[session], titles, appeal)
    utility = np.full(candidates.shape, -np.inf)
    utility[session, cell] = worth
    guess = np.full(candidates.shape, np.inf)
    guess[session, cell] = -(worth + noise.gumbel(size=len(worth)))
    best = _smallest(guess, _SLATE)
    return (
        np.take_along_axis(candidates, best, axis=1).astype(np.int64),
        np.take_along_axis(utility, best, axis=1),
    )


def _smallest(values: Floats, count: int) -> Ints:
    """Return the columns of each row's smallest values, in order; equal values by column."""
    some = np.sort(np.argpartition(values, count - 1, axis=1)[:, :count], axis=1)
    order = np.argsort(np.take_along_axis(values, some, axis=1), axis=1, kind="stable")
    smallest: Ints = np.take_along_axis(some, order, axis=1)
    # which of equal values are among the first is not for a partition to say
    is_tied = values[np.arange(len(values)), smallest[:, -1]] == np.inf
    smallest[is_tied] = np.argsort(values[is_tied], axis=1, kind="stable")[:, :count]
    return smallest


@dataclass(frozen=True, slots=True)
class _Deck:
    """The title of each of ``_DRAWS`` equally likely draws: a table, for speed."""

    everyone: Codes
    kids: Codes

    @classmethod
    def of(cls, demand: Demand, appeal: Floats) -> "_Deck":
        boost = np.where(demand.titles.kind == MOVIE, np.log(_MOVIE_ROTATION_DAYS), 0.0)
        weight = np.exp(0.6 * appeal + boost)
        return cls(_by_draw(weight), _by_draw(weight * demand.titles.is_kids))


def _draw_candidates(deck: _Deck, sessions: Sessions, rng: np.random.Generator) -> Codes:
    """Draw titles by flattened appeal; a row's titles are in order, so repeats are neighbours."""
    drawn = rng.integers(0, _DRAWS, (len(sessions.user), _CANDIDATES), dtype=np.uint32)
    candidates: Codes = deck.everyone[drawn]
    is_kids = sessions.canvas == KIDS
    candidates[is_kids] = deck.kids[drawn[is_kids]]
    candidates.sort(axis=1)
    return candidates


def _by_draw(weight: Floats) -> Codes:
    cumulative = np.cumsum(weight)
    points = (np.arange(_DRAWS) + 0.5) / _DRAWS * cumulative[-1]
    titles: Codes = np.searchsorted(cumulative, points, side="right").astype(np.int32)
    return titles


def _allowed(
    demand: Demand, sessions: Sessions, titles: Codes, day_index: int
) -> tuple[Ints, Ints]:
    """Return where titles are that may be shown, as rows and columns.

    Repeats, films out of rotation, games on devices without touch and what leads may not.
    """
    kind = demand.titles.kind.astype(np.int8)[titles]
    no_touch = ~np.isin(sessions.device, _TOUCH_DEVICES)[:, None]
    leads = np.where(sessions.leads_with_followed, sessions.followed, -1).astype(np.int32)
    allowed = (titles != leads[:, None]) & ~((kind == GAME) & no_touch)
    allowed[:, 1:] &= titles[:, 1:] != titles[:, :-1]
    session, cell = np.nonzero(allowed)
    user, title = sessions.user[session], titles[session, cell]
    is_movie = np.flatnonzero(kind[session, cell] == MOVIE)
    turn = hashed(demand.parameters.seed, user[is_movie], title[is_movie]) + np.uint64(day_index)
    stays = np.ones(len(session), dtype=bool)
    stays[is_movie] = turn % np.uint64(_MOVIE_ROTATION_DAYS) == 0
    return session[stays], cell[stays]


def _put_followed_first(
    demand: Demand, sessions: Sessions, title: Ints, utility: Floats, appeal: Floats
) -> None:
    """Put the followed series first on the pages that lead with it."""
    followed = sessions.followed
    rows = np.flatnonzero(sessions.leads_with_followed)
    title[rows, 1:], utility[rows, 1:] = title[rows, :-1].copy(), utility[rows, :-1].copy()
    title[rows, 0] = followed[rows]
    utility[rows, 0] = demand.utility(
        sessions.user[rows], sessions.taste[rows], followed[rows], appeal
    )


def _rows(demand: Demand, sessions: Sessions, title: Ints, appeal: Floats, day_index: int) -> Ints:
    """Name the row of the page that each title stood in."""
    now = start_us(demand.parameters.first_day) + day_index * DAY_US
    is_fresh = now - demand.titles.available_from[title] < 8 * DAY_US
    top = np.zeros(len(appeal), dtype=bool)
    top[np.argsort(-appeal, kind="stable")[: max(10, len(appeal) // 50)]] = True
    position = np.broadcast_to(np.arange(title.shape[1]), title.shape)
    row = np.select(
        [title == sessions.followed[:, None], is_fresh, top[title], position < 4],
        [CONTINUE, NEW_RELEASES, TRENDING, TOP_PICKS],
        default=BECAUSE,
    )
    canvas = sessions.canvas[:, None]
    return np.where(canvas == SEARCH, RESULTS, np.where(canvas == MOBILE_FEED, FEED, row))


def choose(demand: Demand, sessions: Sessions, slates: Slates, day_index: int) -> Viewings:
    """Return what is watched: the best by taste, position and chance; often nothing."""
    rng = stream(demand.parameters.seed, "choices", day_index)
    size = len(sessions.user)
    position = np.arange(slates.title.shape[1])
    bias = np.where(sessions.canvas == SEARCH, 0.3, _POSITION_BIAS)[:, None]
    score = _CHOICE_SHARPNESS * slates.utility - bias * np.log2(1.0 + position)
    score += rng.gumbel(size=score.shape)
    score[sessions.is_continue & slates.is_shown[:, 0], 0] = np.inf
    order = np.argsort(-score, axis=1, kind="stable")[:, :2]
    # shares of sessions that watch something, and something more, by canvas; watching on is sure
    first = np.array([0.62, 0.80, 0.75, 0.40])[sessions.canvas]
    first = np.where(sessions.is_continue, 1.0, first)
    second = np.where(sessions.is_continue, 0.2, 0.4)
    drawn = rng.random((size, 2))
    happens = np.stack([drawn[:, 0] < first, (drawn[:, 0] < first) & (drawn[:, 1] < second)], 1)
    happens &= np.take_along_axis(slates.is_shown, order, axis=1)
    session, rank = np.nonzero(happens)
    cell = order[session, rank]
    title, row = slates.title[session, cell], slates.row[session, cell]
    title, row, is_next = _autoplay_sequels(demand, title, row, rank, rng, day_index)
    fit = slates.utility[session, cell]
    return Viewings(
        session=session,
        title=title,
        row=row,
        position=np.where(is_next, 0, cell),
        match=1.0 / (1.0 + np.exp(-(fit - np.median(fit)) / 2.0)),
        is_followed=title == sessions.followed[session],
    )


def _autoplay_sequels(
    demand: Demand,
    title: Ints,
    row: Ints,
    rank: Ints,
    rng: np.random.Generator,
    day_index: int,
) -> tuple[Ints, Ints, Flags]:
    """After a film that has a sequel, the second viewing of the session is mostly that sequel."""
    before = np.roll(title, 1)
    sequel = np.where(rank == 1, demand.titles.sequel[before], -1)
    can_follow = (sequel >= 0) & (demand.titles.kind[before] != SERIES)
    can_follow &= np.isfinite(demand.appeal(day_index)[sequel])
    is_next = can_follow & (rng.random(len(title)) < 0.7)
    return np.where(is_next, sequel, title), np.where(is_next, BECAUSE, row), is_next
