"""Small pictures for the metadata of assets: one style, one fact each, said in the title.

Every function returns a ``Plot``; ``dg.MetadataValue.md(plot.markdown)`` shows it in the UI.
Colours are those of Okabe and Ito ("Color Universal Design", 2008), which stay apart under the
common colour vision deficiencies. Matplotlib is loaded when the first plot is drawn, without
pyplot: no window, no state.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.schema import ActionRole, EventSchema

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, GREY, LIGHT = "#56B4E9", "#CC79A7", "#F0E442", "#8A8A8A", "#D4D4D4"
_INK = "#333333"

_ROLE_COLOURS = {
    ActionRole.TARGET: (BLUE, SKY, GREEN, "#004C78", "#7FC8A9"),
    ActionRole.CONTEXT: (ORANGE, YELLOW, "#B07A00"),
    ActionRole.NEGATIVE: (VERMILION, PURPLE),
    ActionRole.IGNORED: (LIGHT, GREY),
}

_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#E6E6E6",
    "legend.frameon": False,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}
_DPI = 110
_WIDTH_IN = 7.4

Numbers = npt.NDArray[np.floating[Any]] | npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture and the fact that it shows."""

    title: str
    png: bytes

    @property
    def markdown(self) -> str:
        """The picture inline: a data URI that needs no file and no server."""
        data = base64.b64encode(self.png).decode()
        return f"![{self.title}](data:image/png;base64,{data})"


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityBar:
    """One model's figure with its interval."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFigure:
    """One figure of a gate and the threshold that it must reach, or must not pass."""

    name: str
    value: float
    threshold: float
    is_floor: bool = True
    """Whether the value must be at least the threshold; at most, otherwise."""

    @property
    def is_passed(self) -> bool:
        """Whether the figure holds its threshold."""
        if self.is_floor:
            return self.value >= self.threshold
        return self.value <= self.threshold


def events_by_hour(events: pa.Table, *, schema: EventSchema, day: date) -> Plot:
    """Return a day's events per hour (UTC), stacked by action: targets below, ignored on top.

    Raw events will do, as long as every one says when it occurred.
    """
    hours = pc.hour(events["occurred_at"]).to_numpy(zero_copy_only=False)
    actions = events["action"].to_numpy(zero_copy_only=False)
    counts = np.bincount(hours, minlength=24)
    title = f"{len(hours):,} events on {day.isoformat()}"
    if len(hours):
        title += f", most of them at {counts.argmax():02d}:00 UTC"
    with _figure(title) as (figure, (axes,)):
        below = np.zeros(24)
        stack = [(name, colour, actions == name) for name, colour in _action_colours(schema)]
        strange = ~np.isin(actions.astype(str), [name for name, _, _ in stack])
        if strange.any():
            stack.append(("not in the schema", _INK, strange))
        for name, colour, is_it in stack:
            of_action = np.bincount(hours[is_it], minlength=24)
            label = f"{name} ({of_action.sum():,})"
            axes.bar(range(24), of_action, bottom=below, width=0.86, color=colour, label=label)
            below += of_action
        axes.set_xlabel("hour of the day, UTC")
        axes.set_ylabel("events")
        axes.set_xticks(range(0, 24, 3), [f"{hour:02d}:00" for hour in range(0, 24, 3)])
        _counts(axes)
        _legend_right(axes)
    return Plot(title, _png(figure))


def tokens_per_user(tokens: Numbers, *, num_events: int) -> Plot:
    """Return how many tokens each user of a day has, and what merging made of the events.

    Args:
        tokens: int[U], tokens of each user with at least one.
        num_events: events that were merged into them.
    """
    total = int(tokens.sum())
    title = f"{num_events:,} events became {total:,} tokens"
    if total:
        title += f" ({num_events / total:.1f} to 1); the median user has {np.median(tokens):g}"
    with _figure(title) as (figure, (axes,)):
        if total:
            heights, labels = _doubling_bins(tokens)
            axes.bar(range(len(heights)), heights, width=0.92, color=BLUE)
            axes.set_xticks(range(len(heights)), labels)
        axes.set_xlabel("tokens of a user on this day")
        axes.set_ylabel("users")
        _counts(axes)
    return Plot(title, _png(figure))


def loss_curve(
    train: Sequence[tuple[int, float]], validation: Sequence[tuple[int, float]] = ()
) -> Plot:
    """Return the loss by step, (step, loss) pairs, with the validation loss where there is one."""
    steps, losses = np.array(train, dtype=np.float64).T
    smooth = _smooth(losses)
    title = f"Training loss {smooth[0]:.3f} to {smooth[-1]:.3f} in {train[-1][0]:,} steps"
    if validation:
        best_step, best = min(validation, key=lambda point: point[1])
        title += f"; validation best {best:.3f} at step {best_step:,}"
    with _figure(title) as (figure, (axes,)):
        axes.plot(steps, losses, color=SKY, linewidth=1)
        axes.plot(steps, smooth, color=BLUE, linewidth=2, label="training")
        if validation:
            at, values = np.array(validation, dtype=np.float64).T
            axes.plot(at, values, color=VERMILION, marker="o", markersize=4, label="validation")
        axes.set_xlabel("step")
        axes.set_ylabel("loss, nats")
        axes.legend(loc="upper right")
    return Plot(title, _png(figure))


def quality_bars(bars: Sequence[QualityBar], *, metric: str, cut: str) -> Plot:
    """Return figures of models side by side, best first, with their intervals.

    Args:
        bars: the first one is the model that the title speaks of, the last its baseline.
        metric: what is measured, such as ``recall@10``.
        cut: which users, targets and candidates, in words.
    """
    subject, baseline = bars[0], bars[-1]
    title = f"{metric}: {subject.name} {subject.value:.4f}, {baseline.name} {baseline.value:.4f}"
    if baseline.value > 0:
        title += f" ({subject.value / baseline.value:.2f} times)"
    with _figure(title, height_in=1.1 + 0.5 * len(bars)) as (figure, (axes,)):
        for row, bar in enumerate(bars):
            colour = BLUE if bar is subject else GREY
            axes.barh(row, bar.value, height=0.62, color=colour)
            axes.plot([bar.low, bar.high], [row, row], color=_INK, linewidth=1.5)
            axes.plot([bar.low, bar.high], [row, row], "|", color=_INK, markersize=9)
            where = (max(bar.high, bar.value), row)
            text = f"{bar.value:.4f}"
            axes.annotate(text, where, (7, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(bars)), [bar.name for bar in bars])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.margins(x=0.14)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"{metric}, {cut}; whiskers: 95 % interval")
    return Plot(title, _png(figure))


def embedding_norms(norms: Mapping[str, Numbers], similarity: Numbers | None = None) -> Plot:
    """Return the norms of published vectors and their cosine with the version before.

    Args:
        norms: norms by kind, such as ``user`` and ``item``.
        similarity: cosine of each id that both versions hold; None for the first version.
    """
    title = f"{sum(map(len, norms.values())):,} embeddings"
    if similarity is None:
        title += ", first of their frame"
    else:
        title += f", median cosine with the version before {np.median(similarity):.3f}"
    with _figure(title, panels=1 if similarity is None else 2) as (figure, panels):
        values = [np.asarray(each, dtype=np.float64) for each in norms.values()]
        edges = np.histogram_bin_edges(np.concatenate(values), bins=40)
        for name, each, colour in zip(norms, values, (BLUE, ORANGE, GREEN), strict=False):
            heights, _ = np.histogram(each, bins=edges)
            label = f"{name} ({len(each):,})"
            panels[0].stairs(
                heights / max(len(each), 1), edges, fill=True, color=colour, alpha=0.7, label=label
            )
        panels[0].set_xlabel("norm")
        panels[0].set_ylabel("share of the vectors")
        _room_above(panels[0])
        panels[0].legend(loc="upper left", ncols=2)
        if similarity is not None:
            edges = np.linspace(min(float(similarity.min()), 0.9), 1.0, 41)
            heights, _ = np.histogram(np.minimum(similarity, 1.0), bins=edges)
            panels[1].stairs(heights, edges, fill=True, color=GREEN)
            panels[1].set_xlabel("cosine with the version before")
            panels[1].set_ylabel("ids")
            _counts(panels[1])
    return Plot(title, _png(figure))


def gate_figures(figures: Sequence[GateFigure]) -> Plot:
    """Return a gate's figures against their thresholds, each on its own scale."""
    broken = [figure.name for figure in figures if not figure.is_passed]
    if broken:
        title = f"Gate closed: {', '.join(broken)}"
    else:
        title = f"Gate open: all {len(figures)} figures hold"
    with _figure(title, height_in=0.9 + 0.42 * len(figures)) as (figure, (axes,)):
        for row, each in enumerate(figures):
            colour, mark = (BLUE, "o") if each.is_passed else (VERMILION, "X")
            offset = _margin(each)
            axes.plot([0, offset], [row, row], color=colour, linewidth=2.5, solid_capstyle="butt")
            axes.plot(offset, row, mark, color=colour, markersize=8)
            sign = "≥" if each.is_floor else "≤"
            text = f"{each.value:.4g}  ({sign} {each.threshold:.4g})"
            axes.annotate(text, (1.08, row), va="center", annotation_clip=False)
        axes.axvline(0, color=_INK, linewidth=1)
        axes.set_yticks(range(len(figures)), [each.name for each in figures])
        axes.set_ylim(len(figures) - 0.5, -0.5)
        axes.set_xlim(-1.05, 1.05)
        axes.set_xticks([-0.5, 0, 0.5], ["breaks it", "threshold", "holds it"])
        axes.set_xlabel("distance from the threshold, relative to it")
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.grid(visible=False)
        axes.tick_params(length=0)
    return Plot(title, _png(figure))


def _margin(figure: GateFigure) -> float:
    """Return how far a figure is on the good side of its threshold, squeezed into (-1, 1)."""
    scale = max(abs(figure.threshold), abs(figure.value), 1e-12)
    distance = (figure.value - figure.threshold) / scale
    return float(np.tanh(2 * (distance if figure.is_floor else -distance)))


def _action_colours(schema: EventSchema) -> list[tuple[str, str]]:
    """Return the actions from the bottom of the stack to its top, each with its colour."""
    return [
        (name, _ROLE_COLOURS[role][index % len(_ROLE_COLOURS[role])])
        for role in _ROLE_COLOURS
        for index, name in enumerate(schema.actions_with(role))
    ]


def _doubling_bins(values: Numbers) -> tuple[list[int], list[str]]:
    """Return counts in bins 1, 2, 3-4, 5-8, 9-16, ... and the bins' names."""
    edges = [0, 1]
    while edges[-1] < values.max():
        edges.append(edges[-1] * 2)
    heights = [int(((values > low) & (values <= high)).sum()) for low, high in pairwise(edges)]
    labels = [
        str(high) if high - low == 1 else f"{low + 1}-{high}" for low, high in pairwise(edges)
    ]
    return heights, labels


def _smooth(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean over a fortieth of the curve on either side, as much of it as there is."""
    reach = len(values) // 40
    sums = np.cumsum(np.insert(values, 0, 0.0))
    at = np.arange(len(values))
    ends, starts = np.minimum(at + reach + 1, len(values)), np.maximum(at - reach, 0)
    smooth: npt.NDArray[np.float64] = (sums[ends] - sums[starts]) / (ends - starts)
    return smooth


def _counts(axes: "Axes") -> None:
    """Label the vertical axis with whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")


def _room_above(axes: "Axes") -> None:
    """Leave a line for the legend above what is drawn."""
    axes.set_ylim(top=axes.get_ylim()[1] * 1.18)


def _legend_right(axes: "Axes") -> None:
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0))


@contextmanager
def _figure(
    title: str, *, panels: int = 1, height_in: float = 3.0
) -> "Iterator[tuple[Figure, Sequence[Axes]]]":
    """Yield an empty figure and its panels in the style of this module."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=_DPI, layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False)[0]
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        yield figure, list(axes)


def _png(figure: "Figure") -> bytes:
    """Return the picture in 64 colours: events that carry it stay small, and it has no more."""
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    small = io.BytesIO()
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(64).save(small, format="png", optimize=True)
    return small.getvalue()
