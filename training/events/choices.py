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
