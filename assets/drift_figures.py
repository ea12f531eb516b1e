"""Figures of one day against the days before it: what the drift suite judges.

The days before are one pool, which holds each weekday once. They inform warnings alone.
"""

import math
from collections.abc import Sequence

from assets.day_figures import NUM_NAMED, volume_figure
from assets.suites import Figure, Limits
from training.events.day_aggregates import DayAggregates
from training.events.drift import (
    StabilityIndex,
    Users,
    categories_index,
    new_values,
    numbers_index,
    pooled,
)
from training.schema import EventSchema, FacetKind

_SIGMAS = 3
"""Of a share, by chance: exceeded on one of 700 days without a change."""

_DIGITS = 4
"""Behind the point: more says nothing."""

_SETS_AND_NAMES = (FacetKind.CATEGORICAL, FacetKind.MULTI_CATEGORICAL)


def drift_figures(
    day: DayAggregates, week: Sequence[DayAggregates], *, schema: EventSchema, limits: Limits
) -> list[Figure]:
    """Return the figures of a day against at most a week of others, in any order."""
    before = week if len(week) >= limits.min_days else ()
    named = [one.name for one in schema.facets if one.kind in _SETS_AND_NAMES]
    return [
        volume_figure(day.rows, week, limits),
        *(_null_change(day, before, facet.name, limits) for facet in schema.facets),
        _drift(day, before, "hour", limits, check="hours_are_usual"),
        _drift(day, before, "action", limits, check="actions_are_usual"),
        *(
            _drift(day, before, facet.name, limits, check="facets_are_usual")
            for facet in schema.facets
            if facet.kind is not FacetKind.INSTANT
        ),
        *(_familiar(day, before, name, limits) for name in named),
    ]


def _drift(
    day: DayAggregates, before: Sequence[DayAggregates], name: str, limits: Limits, *, check: str
) -> Figure:
    index = _index(day, before, name)
    limit = round(limits.drift + (index.chance if index else 0.0), _DIGITS)
    return Figure(
        check=check,
        name=f"stability index of {name}",
        value=round(index.value, _DIGITS) if index else None,
        high=limit,
        threshold=f"at most {limit:.3g}",
        about=None if name == "hour" else name,
    )


def _index(day: DayAggregates, before: Sequence[DayAggregates], name: str) -> StabilityIndex | None:
    users = Users(day.users, _users(before))
    if name in day.spreads:
        spread = pooled(one.spreads.get(name, {}) for one in before)
        return numbers_index(day.spreads[name], spread, users)
    counts = pooled(one.counts.get(name, {}) for one in before)
    return categories_index(day.counts.get(name, {}), counts, users)


def _null_change(
    day: DayAggregates, before: Sequence[DayAggregates], name: str, limits: Limits
) -> Figure:
    share, rows = day.null_share(name), sum(one.rows for one in before)
    known = [one for one in before if name in one.nulls]
    usual = sum(one.nulls[name] for one in known) / rows if known and rows else None
    is_judged = share is not None and usual is not None
    limit = round(limits.null_change + _chance(usual or 0.0, day.users, _users(before)), _DIGITS)
    return Figure(
        check="null_shares_are_usual",
        name=f"change of the share of nulls in {name}",
        value=share - usual if is_judged and share is not None and usual is not None else None,
        low=-limit,
        high=limit,
        threshold=f"between -{limit:.1%} and {limit:.1%}",
        about=name,
        unit="share",
        note=f"{share:.1%}, usually {usual:.1%}" if is_judged else "",
    )


def _familiar(
    day: DayAggregates, before: Sequence[DayAggregates], name: str, limits: Limits
) -> Figure:
    counts = day.counts.get(name, {})
    found = new_values(counts, pooled(one.counts.get(name, {}) for one in before))
    total = sum(counts.values())
    limit = round(
        limits.new_values + _chance(limits.new_values, day.users, _users(before)), _DIGITS
    )
    named = list((found or {}).items())[:NUM_NAMED]
    return Figure(
        check="values_are_familiar",
        name=f"share of new values of {name}",
        value=sum(found.values()) / total if found is not None and total else None,
        high=limit,
        threshold=f"at most {limit:.1%}",
        about=name,
        unit="share",
        note=", ".join(f"{value}: {rows:,}" for value, rows in named),
    )


def _users(days: Sequence[DayAggregates]) -> int:
    return sum(one.users for one in days)


def _chance(share: float, users: int, users_before: int) -> float:
    """Return what a share differs by at most by chance; rows of one user are alike."""
    if not users or not users_before:
        return 1.0
    return _SIGMAS * math.sqrt(share * (1 - share) * (1 / users + 1 / users_before))
