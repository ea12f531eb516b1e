"""Pictures of figures over the days, and of one comparison: is it better, and does it hold?

Scales are those of the data: what matters is a distance to another system or to a threshold, not
to zero.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets.drawing import BLUE, GREY, INK, ORANGE, VERMILION, Plot, drawn_figure, png_of
from assets.presentation import interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = (BLUE, GREY, ORANGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One figure of one day, with its 95 % interval."""

    day: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GateHistory:
    """The figure of one gate on each day, and the threshold that it must reach."""

    name: str
    days: Sequence[str]
    values: Sequence[float]
    thresholds: Sequence[float]

    @property
    def is_passed(self) -> bool:
        """Whether the newest figure reaches its threshold."""
        return self.values[-1] >= self.thresholds[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedFigure:
    """One figure with and without a change, and the paired difference with its 95 % interval."""

    metric: str
    after: float
    before: float
    difference: float
    lower: float
    upper: float

    @property
    def words(self) -> str:
        """The difference and its interval: ``+.063 [+.054, +.074]``."""
        shown = interval(self.difference, self.lower, self.upper, is_signed=True)
        return re.sub(r"(?<=[+-])0(?=\.)", "", shown)


def quality_by_day(
    metrics: Mapping[str, Mapping[str, Sequence[Measured]]], *, cut: str, verdict: str
) -> Plot:
    """Return quality over the days, a panel per metric and a line per system.

    Args:
        metrics: by metric and system, oldest day first; the first system is the model.
        cut: which users, targets and candidates, in words.
        verdict: what the title says after the newest day.
    """
    newest = next(iter(next(iter(metrics.values())).values()))[-1].day
    title = f"{newest}: {verdict}"
    with drawn_figure(title, panels=len(metrics), height_in=3.1) as (figure, panels):
        for axes, (metric, systems) in zip(panels, metrics.items(), strict=True):
            for colour, (name, points) in zip(_COLOURS, systems.items(), strict=False):
                values = [one.value for one in points]
                below = [one.value - one.low for one in points]
                above = [one.high - one.value for one in points]
                axes.errorbar(
                    [one.day[5:] for one in points],
                    values,
                    yerr=[below, above],
                    color=colour,
                    marker="o",
                    markersize=5,
                    linewidth=1.6,
                    capsize=3,
                    label=f"{name} {values[-1]:.3f}",
                )
            axes.set_title(metric, fontsize=9, loc="left")
            _label_days(axes)
            axes.margins(x=0.15)
            axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.35)
            axes.legend(loc="upper left", fontsize=8)
        figure.supxlabel(f"day; {cut}; whiskers: 95 % interval over users", fontsize=8)
    return Plot(title, png_of(figure))


def gates_by_day(gates: Sequence[GateHistory], *, day: str) -> Plot:
    """Return each gate's figure over the days against its threshold, each on a scale of its own."""
    broken = [one.name for one in gates if not one.is_passed]
    if broken:
        title = f"{day}: gate closed by {', '.join(broken)}"
    else:
        title = f"{day}: gate open, all {len(gates)} figures reach their thresholds"
    rows = -(-len(gates) // 3)
    with drawn_figure(title, panels=len(gates), rows=rows, height_in=0.7 + 2.0 * rows) as (
        figure,
        panels,
    ):
        for axes, gate in zip(panels, gates, strict=True):
            _draw_gate(axes, gate)
    return Plot(title, png_of(figure))


def _draw_gate(axes: "Axes", gate: GateHistory) -> None:
    colour = BLUE if gate.is_passed else VERMILION
    days = [day[5:] for day in gate.days]
    axes.plot(days, gate.thresholds, color=INK, linewidth=1, linestyle="--", label="threshold")
    if len(set(days)) == 1:
        axes.axhline(gate.thresholds[-1], color=INK, linewidth=1, linestyle="--")
    axes.plot(days, gate.values, color=colour, marker="o", markersize=5, linewidth=1.6)
    axes.annotate(
        f"{gate.values[-1]:.4g}",
        (days[-1], gate.values[-1]),
        (0, 6),
        textcoords="offset points",
        ha="center",
        color=colour,
        fontweight="bold",
    )
    low, high = min(*gate.values, *gate.thresholds), max(*gate.values, *gate.thresholds)
    room = (high - low) or abs(high) or 1.0
    axes.set_ylim(low - 0.15 * room, high + 0.3 * room)
    axes.margins(x=0.2)
    axes.set_title(
        f"{gate.name.replace('_', ' ')}, at least {gate.thresholds[-1]:.4g}",
        fontsize=8.5,
        loc="left",
    )
    _label_days(axes)


def paired_difference(figures: Sequence[PairedFigure], *, change: str, cut: str) -> Plot:
    """Return figures with and without a change, and beside them the differences against zero.

    Args:
        figures: the title speaks of the first one.
        change: what the second ranker lacks, such as ``embeddings``.
        cut: which rows and which interval, in words.
    """
    first = figures[0]
    title = (
        f"{first.metric}: {first.words} with {change} "
        f"({first.after:.4f} against {first.before:.4f})"
    )
    with drawn_figure(title, panels=2, height_in=1.3 + 0.6 * len(figures)) as (figure, panels):
        rows = range(len(figures))
        for row, one in enumerate(figures):
            is_better, is_worse = one.lower > 0, one.upper < 0
            colour = BLUE if is_better else VERMILION if is_worse else GREY
            panels[0].plot([one.before, one.after], [row, row], color=GREY, linewidth=1.5)
            panels[0].plot(one.before, row, "o", color=GREY, label="without" if not row else None)
            panels[0].plot(one.after, row, "o", color=BLUE, label="with" if not row else None)
            panels[1].plot([one.lower, one.upper], [row, row], color=colour, linewidth=2)
            panels[1].plot([one.lower, one.upper], [row, row], "|", color=colour, markersize=10)
            panels[1].plot(one.difference, row, "o", color=colour)
            panels[1].annotate(
                one.words, (one.difference, row), (0, 7), textcoords="offset points", ha="center"
            )
        panels[0].set_yticks(rows, [one.metric for one in figures])
        panels[0].set_xlabel("value; the axis does not start at 0")
        panels[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        panels[1].set_yticks(rows, [""] * len(figures))
        panels[1].axvline(0, color=INK, linewidth=1)
        panels[1].set_xlabel(f"difference, {cut}")
        for axes in panels:
            axes.set_ylim(len(figures) - 0.5, -0.6)
            axes.grid(visible=False, axis="y")
            axes.grid(visible=True, axis="x")
            axes.margins(x=0.15)
    return Plot(title, png_of(figure))


def _label_days(axes: "Axes", limit: int = 6) -> None:
    """Name at most a handful of the days, the newest among them."""
    ticks = list(axes.get_xticks())
    step = -(-len(ticks) // limit)
    axes.set_xticks(ticks[::-1][::step][::-1])
