"""What users choose of the pages they are shown."""

from dataclasses import dataclass

import numpy as np

from training.events.sessions import BECAUSE, SEARCH, Sessions
from training.events.slates import Slates
from training.events.taste import Demand
from training.events.titles import SERIES
from training.events.world import Flags, Floats, Ints, stream

_POSITION_BIAS = 0.9
_CHOICE_SHARPNESS = 1.2
_AUTOPLAY_SHARE = 0.7


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


def choose(
    demand: Demand, sessions: Sessions, slates: Slates, day_index: int, *, replication: int = 0
) -> Viewings:
    """Return what is watched: the best by taste, position and chance; often nothing.

    Replication 0 is the day that is logged; the others draw other choices.
    """
    keys = (day_index, replication) if replication else (day_index,)
    rng = stream(demand.parameters.seed, "choices", *keys)
    score = _scores(sessions, slates)
    score += rng.gumbel(size=score.shape)
    order = np.argsort(-score, axis=1, kind="stable")[:, :2]
    first, second = _shares(sessions)
    drawn = rng.random((len(score), 2))
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


def choice_propensities(
    demand: Demand, sessions: Sessions, slates: Slates, day_index: int
) -> tuple[Floats, Floats]:
    """Return the probabilities that each position is watched first, and watched at all, [S, K].

    Exact, given the page. The first choice is a draw in proportion to ``exp(score)``, the second
    one the same among what is left, unless the sequel of the first plays in its place.
    """
    score = _scores(sessions, slates)
    is_sure = np.isposinf(score)
    weight = np.exp(score - score.max(axis=1, keepdims=True, initial=0.0, where=~is_sure))
    weight[is_sure] = 0.0  # where one is certain to be first, what is left is weighed without it
    whole = weight.sum(axis=1, keepdims=True)
    chosen = np.divide(weight, whole, out=np.zeros_like(weight), where=whole > 0)
    chosen = np.where(is_sure.any(axis=1, keepdims=True), is_sure, chosen)
    first_share, second_share = _shares(sessions)
    first: Floats = chosen * first_share[:, None]
    stays = 1.0 - _AUTOPLAY_SHARE * _has_next(demand, slates.title, day_index)
    second = np.zeros_like(first)
    for position in range(first.shape[1]):
        others = weight.copy()
        others[:, position] = 0.0
        left = others.sum(axis=1, keepdims=True)
        share = np.divide(others, left, out=np.zeros_like(others), where=left > 0)
        second += (first * stays)[:, position, None] * share
    return first, first + second * second_share[:, None]


def _scores(sessions: Sessions, slates: Slates) -> Floats:
    """Return how the positions of a page compete for the first choice; watching on is sure."""
    position = np.arange(slates.title.shape[1])
    bias = np.where(sessions.canvas == SEARCH, 0.3, _POSITION_BIAS)[:, None]
    score: Floats = _CHOICE_SHARPNESS * slates.utility - bias * np.log2(1.0 + position)
    score[sessions.is_continue & slates.is_shown[:, 0], 0] = np.inf
    return score


def _shares(sessions: Sessions) -> tuple[Floats, Floats]:
    """Return the shares of sessions that watch something, and of these something more."""
    first = np.array([0.62, 0.80, 0.75, 0.40])[sessions.canvas]
    return (
        np.where(sessions.is_continue, 1.0, first),
        np.where(sessions.is_continue, 0.2, 0.4),
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
    can_follow = (rank == 1) & _has_next(demand, before, day_index)
    is_next = can_follow & (rng.random(len(title)) < _AUTOPLAY_SHARE)
    sequel = demand.titles.sequel[before]
    return np.where(is_next, sequel, title), np.where(is_next, BECAUSE, row), is_next


def _has_next(demand: Demand, title: Ints, day_index: int) -> Flags:
    """Return whether a sequel can play after each title: not after a series."""
    sequel = demand.titles.sequel[title]
    is_out = (sequel >= 0) & np.isfinite(demand.appeal(day_index)[sequel])
    can_follow: Flags = is_out & (demand.titles.kind[title] != SERIES)
    return can_follow
