"""Pictures of one day's data and of one training run, for the metadata of assets.

Every function returns a ``Plot``: a picture whose title says the fact that it shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from assets.drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LIGHT,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    Plot,
    drawn_figure,
    label_counts,
    png_of,
)
from training.schema import ActionRole, EventSchema

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROLE_COLOURS = {
    ActionRole.TARGET: (BLUE, SKY, GREEN, "#004C78", "#7FC8A9"),
    ActionRole.CONTEXT: (ORANGE, YELLOW, "#B07A00"),
    ActionRole.NEGATIVE: (VERMILION, PURPLE),
    ActionRole.IGNORED: (LIGHT, GREY),
}

Ages = Sequence[tuple[int, str]]
"""Bins of days, each by its first day and its name; the last one has no end."""

_USER_AGES: Ages = ((0, "0 d"), (1, "1"), (2, "2-3"), (4, "4-6"), (7, "7-13"), (14, "14+"))
_ITEM_AGES: Ages = (
    *((0, "0-6 d"), (7, "7-29"), (30, "30-89"), (90, "90-364")),
    *((365, "1-4 y"), (1826, "5-9 y"), (3652, "10+ y")),
)

Days = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.floating[Any]] | npt.NDArray[np.integer[Any]]


def events_by_hour(events: pl.LazyFrame, *, schema: EventSchema, day: date) -> Plot:
    """Return a day's events per hour (UTC), stacked by action: targets below, ignored on top.

    Raw events will do; those that do not say when they occurred are left out.
    """
    dated = events.filter(pl.col("occurred_at").is_not_null())
    found = dated.group_by(pl.col("occurred_at").dt.hour().alias("hour"), "action").len().collect()
    counts = _by_hour(found)
    title = f"{counts.sum():,} events on {day.isoformat()}"
    if counts.any():
        title += f", most of them at {counts.argmax():02d}:00 UTC"
    with drawn_figure(title) as (figure, (axes,)):
        below = np.zeros(24)
        colours = _action_colours(schema)
        is_strange = ~pl.col("action").is_in([name for name, _ in colours])
        stack = [(name, colour, pl.col("action") == name) for name, colour in colours]
        strange = found.filter(is_strange.fill_null(value=True))
        if strange.height:
            stack.append(("not in the schema", INK, is_strange.fill_null(value=True)))
        for name, colour, is_it in stack:
            of_action = _by_hour(found.filter(is_it))
            label = f"{name} ({of_action.sum():,})"
            axes.bar(range(24), of_action, bottom=below, width=0.86, color=colour, label=label)
            below += of_action
        axes.set_xlabel("hour of the day, UTC")
        axes.set_ylabel("events")
        axes.set_xticks(range(0, 24, 3), [f"{hour:02d}:00" for hour in range(0, 24, 3)])
        label_counts(axes)
        _legend_right(axes)
    return Plot(title, png_of(figure))


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
    with drawn_figure(title) as (figure, (axes,)):
        if total:
            heights, labels = _doubling_bins(tokens)
            axes.bar(range(len(heights)), heights, width=0.92, color=BLUE)
            axes.set_xticks(range(len(heights)), labels)
        axes.set_xlabel("tokens of a user on this day")
        axes.set_ylabel("users")
        label_counts(axes)
    return Plot(title, png_of(figure))


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
    with drawn_figure(title) as (figure, (axes,)):
        axes.plot(steps, losses, color=SKY, linewidth=1)
        axes.plot(steps, smooth, color=BLUE, linewidth=2, label="training")
        if validation:
            at, values = np.array(validation, dtype=np.float64).T
            axes.plot(at, values, color=VERMILION, marker="o", markersize=4, label="validation")
        axes.set_xlabel("step")
        axes.set_ylabel("loss, nats")
        axes.legend(loc="upper right")
    return Plot(title, png_of(figure))


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingFigures:
    """What a picture of a day's published vectors shows."""

    norms: Mapping[str, Numbers]
    """Norms by kind, such as ``user`` and ``item``."""

    user_days: Days
    """int[U], days since each user's last interaction; those that are not active are left out."""

    item_days: Days
    """int[I], days since each title was released."""

    cosines: Numbers | None = None
    """Cosine of each title that the version before holds too; None for the first version."""


def embeddings(figures: EmbeddingFigures) -> Plot:
    """Return the norms and ages of a day's vectors, and their cosine with the version before."""
    title = f"{sum(map(len, figures.norms.values())):,} embeddings"
    if figures.cosines is None:
        title += ", first of their frame"
    else:
        title += f", median cosine with the version before {np.median(figures.cosines):.3f}"
    num_panels = 3 if figures.cosines is None else 4
    with drawn_figure(title, panels=num_panels, rows=2, height_in=4.8) as (figure, panels):
        _draw_norms(panels[0], figures.norms)
        _draw_ages(panels[1], figures.user_days, _USER_AGES, "since the user's last event", "users")
        _draw_ages(panels[2], figures.item_days, _ITEM_AGES, "since the item's release", "items")
        if figures.cosines is not None:
            _draw_cosines(panels[3], figures.cosines)
    return Plot(title, png_of(figure))


def _draw_norms(axes: "Axes", norms: Mapping[str, Numbers]) -> None:
    values = [np.asarray(each, dtype=np.float64) for each in norms.values()]
    edges = np.histogram_bin_edges(np.concatenate(values), bins=40)
    for name, each, colour in zip(norms, values, (BLUE, ORANGE, GREEN), strict=False):
        heights, _ = np.histogram(each, bins=edges)
        shares = heights / max(len(each), 1)
        label = f"{name} ({len(each):,})"
        axes.stairs(shares, edges, fill=True, color=colour, alpha=0.7, label=label)
    axes.set_xlabel("norm")
    axes.set_ylabel("share of the vectors")
    _room_above(axes)
    axes.legend(loc="upper left", ncols=2)


def _draw_ages(axes: "Axes", days: Days, ages: Ages, label: str, unit: str) -> None:
    edges = [first for first, _ in ages]
    heights = np.bincount(np.searchsorted(edges, days, side="right") - 1, minlength=len(edges))
    axes.bar(range(len(edges)), heights, width=0.92, color=SKY)
    axes.set_xticks(range(len(edges)), [name for _, name in ages], fontsize=7.5)
    axes.set_xlabel(label)
    axes.set_ylabel(unit)
    label_counts(axes)


def _draw_cosines(axes: "Axes", cosines: Numbers) -> None:
    edges = np.linspace(min(float(cosines.min()), 0.9), 1.0, 41)
    heights, _ = np.histogram(np.minimum(cosines, 1.0), bins=edges)
    axes.stairs(heights, edges, fill=True, color=GREEN)
    axes.set_xlabel("cosine with the version before")
    axes.set_ylabel("items")
    label_counts(axes)


def _by_hour(counted: pl.DataFrame) -> npt.NDArray[Any]:
    """Return int[24]: the rows counted, by hour."""
    counts = np.zeros(24, dtype=np.int64)
    np.add.at(counts, counted["hour"].to_numpy(), counted["len"].to_numpy())
    return counts


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


def _room_above(axes: "Axes") -> None:
    """Leave a line for the legend above what is drawn."""
    axes.set_ylim(top=axes.get_ylim()[1] * 1.18)


def _legend_right(axes: "Axes") -> None:
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0))
