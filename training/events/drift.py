"""How far a day's distribution lies from that of the days before.

The measure is the population stability index, ``Σ (p - q) ln(p / q)`` over cells: the symmetric
Kullback-Leibler divergence (Jeffreys 1946), as credit scoring uses it to tell that a model meets
another population than the one it learned from (Siddiqi, *Credit Risk Scorecards*, 2006).
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from training.events.day_aggregates import OTHERS

Counts = Mapping[str, int]

SMALL_SHARE = 0.01
"""Cells below this share of the days before are judged as one: alone they tell chance from chance.
"""

NUM_GROUPS = 10
"""Groups, of equal size on the days before, that numbers are told apart by."""


MIN_EXPECTED = 5
"""Users that a cell must be expected to have: with fewer the index is not as chance is reckoned
(the rule of thumb for chi-squared, Cochran 1954)."""


@dataclass(frozen=True, slots=True)
class Users:
    """Users of a day, and of the days before added up."""

    now: int
    before: int


@dataclass(frozen=True, slots=True)
class StabilityIndex:
    """How far two distributions lie apart."""

    value: float
    """0 where they are equal."""

    chance: float
    """What it stays below on 999 of 1,000 days without a change."""


def pooled(days: Iterable[Counts]) -> Counter[str]:
    """Return the counts of several days together."""
    total: Counter[str] = Counter()
    for counts in days:
        total.update(counts)
    return total


def categories_index(day: Counts, before: Counts, users: Users) -> StabilityIndex | None:
    """Return the stability index of counts by value; None where there is too little to judge."""
    total = sum(before.values())
    large = [name for name, n in before.items() if name != OTHERS and n >= SMALL_SHARE * total]
    cells = [(day.get(name, 0), before[name]) for name in large]
    rest = (sum(day.values()) - sum(n for n, _ in cells), total - sum(n for _, n in cells))
    return stability_index([*cells, rest], users)


def numbers_index(day: Counts, before: Counts, users: Users) -> StabilityIndex | None:
    """Return the stability index of counts by bin (``DayAggregates.spreads``)."""
    edges = _edges(before)
    cells = [[0, 0] for _ in range(len(edges) + 1)]
    for side, counts in enumerate((day, before)):
        for end, n in counts.items():
            cells[bisect_right(edges, float(end))][side] += n
    return stability_index([(now, then) for now, then in cells], users)


def stability_index(cells: Sequence[tuple[int, int]], users: Users) -> StabilityIndex | None:
    """Return the index of cells, each with its rows on the day and before.

    Rows of one user are alike, so rows are scaled down to users. Cells that too few users are
    expected in are judged as one, and half a user is added to every cell (Jeffreys' prior): without
    it one empty cell is infinite. None where no cell has enough users, or either side has no rows.

    Over independent draws the index is chi-squared with ``cells - 1`` degrees of freedom, times
    ``1 / n + 1 / m`` (Yurdakul 2018); the quantile of ``chance`` is below ``11 / sqrt(degrees)``
    means, or two from 30 degrees on.
    """
    day, before = (sum(cell[side] for cell in cells) for side in (0, 1))
    if not (day and before and users.now and users.before):
        return None
    large = [one for one in cells if one[1] / before * users.now >= MIN_EXPECTED]
    if not large:
        return None
    rest = (day - sum(now for now, _ in large), before - sum(then for _, then in large))
    judged = [*large, rest] if any(rest) else large
    index = 0.0
    for now, then in judged:
        p = (now / day * users.now + 0.5) / (users.now + 0.5 * len(judged))
        q = (then / before * users.before + 0.5) / (users.before + 0.5 * len(judged))
        index += (p - q) * math.log(p / q)
    degrees = max(len(judged) - 1, 1)
    quantile = max(11 * math.sqrt(degrees), 2 * degrees)
    return StabilityIndex(index, quantile * (1 / users.now + 1 / users.before))


def new_values(day: Counts, before: Counts) -> dict[str, int] | None:
    """Return the day's values that the days before had not, with their rows.

    None where the days before had more values than are counted by name: any may have been there.
    """
    if OTHERS in before or not before:
        return None
    return {name: n for name, n in day.items() if name != OTHERS and name not in before}


def _edges(before: Counts) -> list[float]:
    """Return where bins are told apart, so that each group has its share of the rows before."""
    total, ends = sum(before.values()), sorted(before, key=float)
    edges: list[float] = []
    seen = num_groups = 0
    for end, after in pairwise(ends):
        seen += before[end]
        if seen * NUM_GROUPS // total > num_groups:
            num_groups = seen * NUM_GROUPS // total
            edges.append(float(after))
    return edges
