"""Pictures of what a tokenizer made of a day: lengths, gaps, durations, actions."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assets.drawing import (
    BLUE,
    GREEN,
    INK,
    LIGHT,
    ORANGE,
    Plot,
    drawn_figure,
    label_counts,
    png_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers = npt.NDArray[np.floating[Any]] | npt.NDArray[np.integer[Any]]

PERCENTILES = (50, 90, 99, 100)
_MARKS = {
    "≤ 1 ms": 0.001,
    "1 s": 1,
    "10 s": 10,
    "1 min": 60,
    "10 min": 600,
    "1 h": 3_600,
    "6 h": 21_600,
    "1 d": 86_400,
    "1 w": 604_800,
}


def spoken(seconds: float) -> str:
    """Return a time in the largest unit in which it is whole: ``90 min``, ``1 h``, ``1 d``."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} s"


def gaps(repeats_s: Numbers, between_s: Numbers, *, merge_gap_s: int) -> Plot:
    """Return the gaps that may merge beside the merge gap, and the gaps between tokens.

    Args:
        repeats_s: seconds between neighbouring events of one user on one item.
        between_s: seconds between neighbouring tokens of one user.
        merge_gap_s: the longest gap that merges.
    """
    title = f"{len(repeats_s):,} gaps between events on one item"
    if len(repeats_s):
        share = np.mean(repeats_s <= merge_gap_s)
        title = f"{share:.1%} of {title} are within {spoken(merge_gap_s)} and merge"
    with drawn_figure(title, panels=2, height_in=2.7) as (figure, panels):
        _draw_times(
            panels[0], repeats_s, BLUE, "gap between events on one item", shown_s=merge_gap_s
        )
        panels[0].axvline(max(merge_gap_s, 0.001), color=INK, linewidth=1.2, linestyle="--")
        panels[0].annotate(
            f"merge gap {spoken(merge_gap_s)}",
            (max(merge_gap_s, 0.001), 1),
            (-4, -1),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=8,
        )
        panels[0].set_ylabel("pairs of events")
        _draw_times(panels[1], between_s, GREEN, "gap between a user's tokens")
        panels[1].set_ylabel("pairs of tokens")
    return Plot(title, png_of(figure))


def durations(durations_s: Numbers) -> Plot:
    """Return the durations of tokens that have one."""
    timed = durations_s[durations_s > 0]
    title = f"{len(timed):,} of {len(durations_s):,} tokens have a duration"
    if len(timed):
        low, mid, high = np.percentile(timed, [10, 50, 90])
        title += f": {_short(mid)} in the median, 80 % from {_short(low)} to {_short(high)}"
    with drawn_figure(title, height_in=2.5) as (figure, (axes,)):
        _draw_times(axes, timed, ORANGE, "duration of a token, summed over its events")
        axes.set_ylabel("tokens")
    return Plot(title, png_of(figure))


def lengths(day: Numbers, weeks: Numbers, *, num_days: int) -> Plot:
    """Return how long users' sequences are, on the day and over the days up to it.

    Args:
        day: tokens of each user on the day.
        weeks: tokens of each user over ``num_days`` days.
        num_days: how many days these are.
    """
    title = f"{len(weeks):,} users have tokens in {num_days} days"
    if len(weeks):
        median, high = _percentile(weeks, 50), _percentile(weeks, 99)
        title += f": {median:,.0f} in the median, {high:,.0f} at the 99th percentile"
    with drawn_figure(title, height_in=2.7) as (figure, (axes,)):
        for values, colour, label in (
            (weeks, BLUE, f"{num_days} days"),
            (day, ORANGE, "this day"),
        ):
            ordered = np.sort(values)
            above = 1 - np.arange(len(ordered)) / max(len(ordered), 1)
            axes.step(ordered, above, where="post", color=colour, linewidth=1.8, label=label)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_xlabel("tokens")
        axes.set_ylabel("users with at least so many")
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper right")
    return Plot(title, png_of(figure))


def actions(kept: Mapping[str, float], dropped: Mapping[str, float]) -> Plot:
    """Return each action's share of the day's events, and whether it is in tokens."""
    every = sorted([*kept.items(), *dropped.items()], key=lambda one: one[1])
    title = f"{sum(kept.values()):.1%} of the day's events are in tokens"
    with drawn_figure(title, height_in=0.9 + 0.26 * len(every)) as (figure, (axes,)):
        for row, (name, share) in enumerate(every):
            is_kept = name in kept
            axes.barh(row, share, color=BLUE if is_kept else LIGHT, height=0.72)
            axes.annotate(
                f"{share:.1%}{'' if is_kept else ', left out'}",
                (share, row),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        axes.set_yticks(range(len(every)), [name for name, _ in every])
        axes.set_xlim(0, 1.18 * max([share for _, share in every], default=1.0) or 1.0)
        axes.xaxis.set_major_formatter("{x:.0%}")
        axes.set_xlabel("share of the day's events")
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
    return Plot(title, png_of(figure))


def percentile_rows(named: Sequence[tuple[str, Numbers]]) -> list[dict[str, str]]:
    """Return percentiles of lengths as rows of a table."""
    return [
        {
            "tokens of a user": name,
            "users": f"{len(values):,}",
            **{
                "max" if at == 100 else f"p{at}": (
                    f"{_percentile(values, at):,.0f}" if len(values) else "–"
                )
                for at in PERCENTILES
            },
        }
        for name, values in named
    ]


def _percentile(lengths: Numbers, at: int) -> float:
    """Return a length that a user has: the least one that so many percent do not exceed."""
    return float(np.percentile(lengths, at, method="inverted_cdf"))


def _draw_times(
    axes: "Axes", seconds: Numbers, colour: str, label: str, *, shown_s: float = 1.0
) -> None:
    """Draw a histogram over a logarithmic axis that has ``shown_s`` on it.

    Where some take less than a second, the axis begins at a millisecond, where 0 counts.
    """
    least = 0.001 if len(seconds) and np.mean(seconds < 1) > 0.01 else 1.0
    edges = np.geomspace(least, 86_400 * 7, 61)
    heights, _ = np.histogram(np.clip(seconds, edges[0], edges[-1]), bins=edges)
    axes.stairs(heights, edges, fill=True, color=colour)
    axes.set_xscale("log")
    used = np.flatnonzero(heights)
    if len(used):
        last = max(float(edges[min(used[-1] + 2, len(edges) - 1)]), 1.2 * shown_s)
        axes.set_xlim(float(edges[max(used[0] - 1, 0)]), last)
        axes.set_ylim(top=1.15 * heights.max())  # room for a line of text
    _label_times(axes)
    axes.set_xlabel(label)
    label_counts(axes)


def _label_times(axes: "Axes") -> None:
    """Label the marks that lie on the axis, without those too near to the one before."""
    low, high = axes.get_xlim()
    room = 0.1 * math.log(high / low)
    shown: dict[str, float] = {}
    for name, at in _MARKS.items():
        is_apart = not shown or math.log(at / list(shown.values())[-1]) >= room
        if low <= at <= high and is_apart:
            shown[name] = at
    axes.set_xticks(list(shown.values()), list(shown), fontsize=7.5)
    axes.minorticks_off()


def _short(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
