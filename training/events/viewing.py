"""The events that a day's sessions leave: impressions, plays in segments, trailers, thumbs, lists.

One play event is one uninterrupted watch, logged at its end; a pause starts another one, and so
does the next episode::

    choice ── watch 31 min ──● play    pause 4 min ── watch 52 min ──● play ──● thumb_up
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from training.events.choices import Viewings
from training.events.sessions import MOBILE_FEED, SEARCH, Sessions
from training.events.slates import Slates
from training.events.taste import Demand
from training.events.titles import GAME, LIVE, MOVIE, SERIES
from training.events.world import SECOND_US, Flags, Floats, Ints, stream

ACTIONS = ("impression", "play", "trailer", "list_add", "thumb_up", "thumb_down")
IMPRESSION, PLAY, TRAILER, LIST_ADD, THUMB_UP, THUMB_DOWN = range(6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happenings:
    """Events of a day's sessions as codes (N)."""

    session: Ints
    title: Ints
    action: Ints
    row: Ints
    position: Ints
    at_us: Ints
    watched_ms: Ints
    """-1: the action has no duration."""

    @classmethod
    def concat(cls, parts: Sequence["Happenings"]) -> "Happenings":
        """Put several tables below each other."""
        return cls(
            **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)}
        )


def act(
    demand: Demand, sessions: Sessions, slates: Slates, viewings: Viewings, day_index: int
) -> Happenings:
    """Return all events of the sessions that began on a day; some occur on the next one."""
    rng = stream(demand.parameters.seed, "viewing", day_index)
    impressions = _impressions(sessions, slates, rng)
    return Happenings.concat(
        [
            impressions,
            _reactions(sessions, slates, impressions, rng),
            *_plays(demand, sessions, viewings, rng),
        ]
    )


def _impressions(sessions: Sessions, slates: Slates, rng: np.random.Generator) -> Happenings:
    session, position = np.nonzero(slates.is_shown)
    at_us = sessions.at_us[session] + position * 150_000 + rng.integers(0, 120_000, len(session))
    return Happenings(
        session=session,
        title=slates.title[session, position],
        action=np.full(len(session), IMPRESSION),
        row=slates.row[session, position],
        position=position,
        at_us=at_us,
        watched_ms=np.full(len(session), -1),
    )


def _reactions(
    sessions: Sessions, slates: Slates, impressions: Happenings, rng: np.random.Generator
) -> Happenings:
    """Trailers and list additions on the page, more on titles that fit."""
    fit = slates.utility[impressions.session, impressions.position]
    fits = fit > np.median(fit)
    in_feed = sessions.canvas[impressions.session] == MOBILE_FEED
    drawn = rng.random(len(fit))
    trailer = drawn < np.where(in_feed, 0.2, 0.02) * np.where(fits, 1.5, 0.5)
    listed = (drawn > 1.0 - 0.03) & fits
    chosen = np.flatnonzero(trailer | listed)
    is_trailer = trailer[chosen]
    pause_s = 2.0 + 3.0 * impressions.position[chosen] + rng.exponential(4.0, len(chosen))
    watched_ms = rng.integers(5_000, 90_000, len(chosen))
    pause_us = (pause_s * SECOND_US).astype(np.int64) + np.where(is_trailer, watched_ms * 1000, 0)
    return Happenings(
        session=impressions.session[chosen],
        title=impressions.title[chosen],
        action=np.where(is_trailer, TRAILER, LIST_ADD),
        row=impressions.row[chosen],
        position=impressions.position[chosen],
        at_us=impressions.at_us[chosen] + pause_us,
        watched_ms=np.where(is_trailer, watched_ms, -1),
    )


def _plays(
    demand: Demand, sessions: Sessions, viewings: Viewings, rng: np.random.Generator
) -> tuple[Happenings, Happenings]:
    """Return plays, and the thumbs that follow some of them."""
    total_s, num_segments = _lengths(demand, viewings, rng)
    viewing = np.repeat(np.arange(len(total_s)), num_segments)
    watched_s = _split(total_s, num_segments, rng)
    kind = demand.titles.kind[viewings.title[viewing]]
    is_start = np.diff(viewing, prepend=-1) > 0
    gap_s = np.where(kind == SERIES, 20.0, 240.0) + rng.exponential(
        np.where(kind == SERIES, 40.0, 300.0)
    )
    browsing_s = np.where(
        sessions.canvas[viewings.session[viewing]] == SEARCH, 15.0, 45.0
    ) + rng.exponential(90.0, len(viewing))
    step_us = ((watched_s + np.where(is_start, browsing_s, gap_s)) * SECOND_US).astype(np.int64)
    # a session's viewings follow each other, so time runs on within a session
    elapsed = _cumulated_within(viewings.session[viewing], step_us)
    at_us = sessions.at_us[viewings.session[viewing]] + elapsed
    plays = Happenings(
        session=viewings.session[viewing],
        title=viewings.title[viewing],
        action=np.full(len(viewing), PLAY),
        row=viewings.row[viewing],
        position=viewings.position[viewing],
        at_us=at_us,
        watched_ms=(watched_s * 1000).astype(np.int64),
    )
    return plays, _thumbs(viewings, viewing, plays, rng)


def _lengths(demand: Demand, viewings: Viewings, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Return seconds watched and number of segments of each viewing."""
    kind = demand.titles.kind[viewings.title]
    runtime_s = demand.titles.runtime_s[viewings.title].astype(np.float64)
    size = len(kind)
    stays = rng.random(size) < 0.25 + 0.6 * viewings.match
    share = np.where(stays, rng.uniform(0.88, 1.0, size), rng.beta(0.9, 2.5, size))
    share = np.maximum(share, 0.01)
    more = rng.poisson(np.where(viewings.is_followed, 1.6, 0.4), size)
    episodes = 1 + np.where(stays, np.minimum(more, 5), 0)
    total_s = np.select(
        [kind == MOVIE, kind == SERIES, kind == GAME, kind == LIVE],
        [
            runtime_s * share,
            runtime_s * (episodes - 1 + share),
            120.0 + rng.gamma(2.0, 500.0, size),
            runtime_s * share,
        ],
    )
    pauses = np.minimum(rng.poisson(total_s / 4_000.0), 3)
    return total_s, np.where(kind == SERIES, episodes, np.where(kind == GAME, 1, 1 + pauses))


def _split(total_s: Floats, num_segments: Ints, rng: np.random.Generator) -> Floats:
    """Return the seconds of each segment; a viewing's segments add up to its total."""
    viewing = np.repeat(np.arange(len(total_s)), num_segments)
    part = rng.uniform(0.6, 1.4, len(viewing))
    whole = np.bincount(viewing, weights=part, minlength=len(total_s))
    return part / whole[viewing] * total_s[viewing]


def _cumulated_within(group: Ints, step: Ints) -> Ints:
    """Return running sums of ``step`` that restart with every (sorted) group."""
    total = np.cumsum(step)
    is_start: Flags = np.diff(group, prepend=-1) > 0
    before = np.where(is_start, total - step, 0)
    return total - np.maximum.accumulate(before)


def _thumbs(
    viewings: Viewings, viewing: Ints, plays: Happenings, rng: np.random.Generator
) -> Happenings:
    """Some viewings end with a thumb, up or down by how well the title fits."""
    is_last = np.diff(viewing, append=len(viewing) + 1) > 0
    match = viewings.match[viewing]
    drawn = rng.random(len(viewing))
    up = is_last & (drawn < 0.14 * match)
    down = is_last & (drawn > 1.0 - 0.06 * (1.0 - match))
    chosen = np.flatnonzero(up | down)
    return Happenings(
        session=plays.session[chosen],
        title=plays.title[chosen],
        action=np.where(up[chosen], THUMB_UP, THUMB_DOWN),
        row=plays.row[chosen],
        position=plays.position[chosen],
        at_us=plays.at_us[chosen] + rng.integers(2 * SECOND_US, 40 * SECOND_US, len(chosen)),
        watched_ms=np.full(len(chosen), -1),
    )
