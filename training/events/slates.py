"""The pages of a day of the simulated world: what each session is offered and what it is shown.

A page is filled in two steps. Titles are drawn, with repeats, by their flattened appeal: these are
the session's candidates. Of those that may be shown, the service takes the best by a noisy guess of
their worth, one position after the other, which is a draw without replacement with probabilities
in proportion to ``exp(worth)`` (Kool et al., ICML 2019, the Gumbel-top-k trick)::

    draws ── sorted ── repeats, films out of rotation, ... dropped ──► offers ── guess ──► slate
    [S, 320]                                                           jagged              [S, 7]
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.events.sessions import (
    BECAUSE,
    CONTINUE,
    FEED,
    KIDS,
    MOBILE_FEED,
    NEW_RELEASES,
    RESULTS,
    SEARCH,
    TOP_PICKS,
    TRENDING,
    Sessions,
)
from training.events.taste import Demand
from training.events.titles import GAME, MOVIE
from training.events.world import (
    DAY_US,
    DEVICES,
    Codes,
    Flags,
    Floats,
    Ints,
    hashed,
    mixed,
    start_us,
    stream,
)

_SLATE = 7
_CANDIDATES = 320
# A movie is a candidate of one user on one day in eight only, so nobody is offered the same film
# every day; its weight makes up for that.
_MOVIE_ROTATION_DAYS = 8
_DRAWS = 1 << 16
_BLOCK = 1 << 8
"""Sessions whose candidates are looked at together: few enough to stay in a processor's cache."""
_LACKS_TOUCH = np.array([device not in {"mobile", "tablet"} for device in DEVICES])


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
class Offers:
    """What may be shown (N), by session of a block of S sessions and by title."""

    session: Ints
    """int[N], sorted."""
    title: Codes
    """int[N], sorted within a session, each once."""
    worth: Floats
    """float[N]: the true utility of the title in the session."""
    num_sessions: int


def fill_slates(
    demand: Demand, sessions: Sessions, day_index: int, *, replication: int = 0
) -> Slates:
    """Return the pages: the best of each session's candidates, as the service guesses them.

    Replication 0 is the day that is logged; the others draw other candidates and other guesses.
    """
    appeal = demand.appeal(day_index)
    title = np.empty((len(sessions.user), _SLATE), dtype=np.int64)
    shown = np.empty((len(sessions.user), _SLATE))
    for at, offers, best in draw_pages(demand, sessions, day_index, replication=replication):
        title[at] = np.append(offers.title, 0).take(best)
        shown[at] = np.append(offers.worth, -np.inf).take(best)
    _put_followed_first(demand, sessions, title, shown, appeal)
    shown = np.where(_fits_page(sessions), shown, -np.inf)
    return Slates(title=title, row=_rows(demand, sessions, title, appeal, day_index), utility=shown)


def slate_propensities(demand: Demand, sessions: Sessions, day_index: int) -> Floats:
    """Return the probability that each title stood where it did on the logged pages, [S, K].

    Exact, given the session's offers and what stands above: ``exp(worth)`` over the sum of it over
    the offers not yet shown. The product along a page is the probability of the whole page. What
    leads a page is certain; 0 where nothing was shown.
    """
    found = np.zeros((len(sessions.user), _SLATE))
    for at, offers, best in draw_pages(demand, sessions, day_index):
        found[at] = _standing(offers, best)
    rows = np.flatnonzero(sessions.leads_with_followed)
    found[rows, 1:] = found[rows, :-1].copy()
    found[rows, 0] = 1.0
    return np.where(_fits_page(sessions), found, 0.0)


def draw_pages(
    demand: Demand, sessions: Sessions, day_index: int, *, replication: int = 0
) -> Iterator[tuple[slice, Offers, Ints]]:
    """Yield blocks of sessions, what they are offered and, by position, the offers shown.

    A position beyond the last offer holds ``len(offers.title)``.
    """
    keys = (day_index, replication) if replication else (day_index,)
    draws = stream(demand.parameters.seed, "slates", *keys)
    # the noise follows all draws in the stream; two of them come from one step of the generator
    noise = stream(demand.parameters.seed, "slates", *keys)
    num_sessions = len(sessions.user)
    noise.bit_generator.advance(num_sessions * _CANDIDATES // 2)  # type: ignore[attr-defined]
    deck = _Deck.of(demand, demand.appeal(day_index))
    for start in range(0, num_sessions, _BLOCK):
        at = slice(start, min(start + _BLOCK, num_sessions))
        offers = _draw_offers(demand, deck, sessions.part(at), draws, day_index)
        yield at, offers, _best(offers, noise)


def _fits_page(sessions: Sessions) -> Flags:
    size = np.array([_SLATE, 4, _SLATE, 5])[sessions.canvas]
    fits: Flags = np.arange(_SLATE) < size[:, None]
    return fits


@dataclass(frozen=True, slots=True)
class _Deck:
    """The title of each of ``_DRAWS`` equally likely draws: a table, for speed."""

    appeal: Floats
    everyone: Codes
    kids: Codes

    @classmethod
    def of(cls, demand: Demand, appeal: Floats) -> "_Deck":
        boost = np.where(demand.titles.kind == MOVIE, np.log(_MOVIE_ROTATION_DAYS), 0.0)
        weight = np.exp(0.6 * appeal + boost)
        return cls(appeal, _by_draw(weight), _by_draw(weight * demand.titles.is_kids))


def _by_draw(weight: Floats) -> Codes:
    cumulative = np.cumsum(weight)
    points = (np.arange(_DRAWS) + 0.5) / _DRAWS * cumulative[-1]
    titles: Codes = np.searchsorted(cumulative, points, side="right").astype(np.int32)
    return titles


def _draw_offers(
    demand: Demand, deck: _Deck, sessions: Sessions, rng: np.random.Generator, day_index: int
) -> Offers:
    """Draw titles by flattened appeal and keep those that may be shown."""
    drawn = _integers(rng, len(sessions.user))
    candidates: Codes = deck.everyone.take(drawn)
    is_kids = sessions.canvas == KIDS
    candidates[is_kids] = deck.kids.take(drawn[is_kids])
    candidates.sort(axis=1)
    session, title = _allowed(demand, sessions, candidates, day_index)
    taste = sessions.taste.take(session, axis=0)
    worth = demand.utility(sessions.user.take(session), taste, title, deck.appeal)
    return Offers(session=session, title=title, worth=worth, num_sessions=len(candidates))


def _integers(rng: np.random.Generator, num_sessions: int) -> npt.NDArray[np.uint16]:
    """Return ``rng.integers(0, _DRAWS, [S, 320], dtype=np.uint32)``, in half the time.

    That is the upper half of each 32 bits of the generator, since ``_DRAWS`` is a power of two.
    """
    raw = rng.bit_generator.random_raw(num_sessions * _CANDIDATES // 2)
    drawn: npt.NDArray[np.uint16] = raw.astype("<u8").view("<u2")[1::2]
    return drawn.reshape(num_sessions, _CANDIDATES)


def _allowed(
    demand: Demand, sessions: Sessions, candidates: Codes, day_index: int
) -> tuple[Ints, Codes]:
    """Return the titles that may be shown, each once, and the session of each.

    Films out of rotation, games on devices without touch and what leads may not.
    """
    is_first = np.ones(candidates.shape, dtype=bool)
    np.not_equal(candidates[:, 1:], candidates[:, :-1], out=is_first[:, 1:])
    counts = np.count_nonzero(is_first, axis=1)
    title = candidates.ravel().take(np.flatnonzero(is_first))
    # nearly all that is drawn are films, and seven of eight go: they go first. The remainder is
    # by a power of two, since a division takes six times as long; that of other titles is always 0
    by_user = hashed(demand.parameters.seed, sessions.user)
    turn = mixed(np.repeat(by_user, counts), title) + np.uint64(day_index)
    days = np.where(demand.titles.kind == MOVIE, _MOVIE_ROTATION_DAYS, 1).astype(np.uint64)
    kept = np.flatnonzero(turn & (days - np.uint64(1)).take(title) == 0)
    session, title = np.repeat(np.arange(len(counts)), counts).take(kept), title.take(kept)
    leads = np.where(sessions.leads_with_followed, sessions.followed, -1)
    no_touch = _LACKS_TOUCH.take(sessions.device)
    is_game = (demand.titles.kind == GAME).take(title)
    may = np.flatnonzero((title != leads.take(session)) & ~(is_game & no_touch.take(session)))
    return session.take(may), title.take(may)


def _best(offers: Offers, noise: np.random.Generator) -> Ints:
    """Return the offers that the service puts on each page, [S, K], best first by its guess."""
    starts, rows, guess = _by_session(offers, offers.worth + noise.gumbel(size=len(offers.worth)))
    flat = guess.ravel()
    best = np.full((offers.num_sessions, _SLATE), len(offers.title))
    for position in range(min(_SLATE, guess.shape[1])):
        column = guess.argmax(axis=1)
        is_left = np.isfinite(flat.take(rows + column))
        best[is_left, position] = (starts + column)[is_left]
        flat[rows + column] = -np.inf
    return best


def _standing(offers: Offers, best: Ints) -> Floats:
    """Return the probability of each offer where it stands, given those before it, [S, K]."""
    starts, rows, worth = _by_session(offers, offers.worth)
    left = np.exp(worth - worth.max(axis=1, keepdims=True, initial=-np.finfo(float).max))
    flat = left.ravel()
    found = np.zeros(best.shape)
    for position in range(min(_SLATE, left.shape[1])):
        is_shown = np.flatnonzero(best[:, position] < len(offers.title))
        cell = rows[is_shown] + best[is_shown, position] - starts[is_shown]
        found[is_shown, position] = flat[cell] / left[is_shown].sum(axis=1)
        flat[cell] = 0.0
    return found


def _by_session(offers: Offers, values: Floats) -> tuple[Ints, Ints, Floats]:
    """Return values by session, float[S, width], padded by -inf.

    Before it come the first offer of each session, and where its row begins.
    """
    counts = np.bincount(offers.session, minlength=offers.num_sessions)
    starts = np.cumsum(counts) - counts
    rows = np.arange(offers.num_sessions) * counts.max()
    matrix = np.full((offers.num_sessions, counts.max()), -np.inf)
    rank = np.arange(len(values)) - starts.take(offers.session)
    matrix.ravel()[rows.take(offers.session) + rank] = values
    return starts, rows, matrix


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
