import base64
import io
from collections.abc import Callable
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from assets.plots import (
    GateFigure,
    Plot,
    QualityBar,
    embedding_norms,
    events_by_hour,
    gate_figures,
    loss_curve,
    quality_bars,
    tokens_per_user,
)
from training.schema import EventSchema

MAX_BYTES = 60_000

draw = np.random.default_rng(3)
CURVE = [(step, 4 + 3 * float(np.exp(-step / 200))) for step in range(0, 2000, 2)]
CLOSED = GateFigure(name="cosine", value=0.41, threshold=0.8)
OPEN = GateFigure(name="lost rows", value=0, threshold=0, is_floor=False)

PLOTS: dict[str, Callable[[], Plot]] = {
    "tokens": lambda: tokens_per_user(draw.geometric(0.1, 3000), num_events=90_000),
    "tokens of nobody": lambda: tokens_per_user(np.array([], dtype=np.int64), num_events=0),
    "tokens of one": lambda: tokens_per_user(np.array([1]), num_events=1),
    "a long loss": lambda: loss_curve(CURVE, CURVE[::100]),
    "a loss of one point": lambda: loss_curve([(0, 7.1)]),
    "quality": lambda: quality_bars(
        [
            QualityBar(name="base of the day", value=0.18, low=0.17, high=0.19),
            QualityBar(name="popularity", value=0.0, low=0.0, high=0.01),
        ],
        metric="recall@10",
        cut="all titles, per-user mean",
    ),
    "norms": lambda: embedding_norms(
        {"user": draw.normal(5, 1, 4000), "item": draw.normal(3, 1, 900)},
        1 - np.abs(draw.normal(0, 0.1, 4900)),
    ),
    "norms of equals": lambda: embedding_norms({"user": np.ones(9)}, np.ones(9)),
    "norms of a first version": lambda: embedding_norms({"user": np.ones(9), "item": np.ones(3)}),
    "a closed gate": lambda: gate_figures([OPEN, CLOSED]),
    "an open gate": lambda: gate_figures([OPEN]),
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_a_small_picture_with_a_title(name: str) -> None:
    plot = PLOTS[name]()

    with Image.open(io.BytesIO(plot.png)) as picture:
        assert picture.format == "PNG"
        assert picture.width > 600
    assert len(plot.png) < MAX_BYTES
    assert plot.title


def test_events_are_counted_by_the_hour(events: pa.Table, schema: EventSchema, day: date) -> None:
    plot = events_by_hour(events, schema=schema, day=day)

    assert plot.title.startswith("200 events on 2026-01-03, most of them at ")
    assert len(plot.png) < MAX_BYTES


def test_raw_events_with_strange_actions_still_draw(
    events: pa.Table, schema: EventSchema, day: date
) -> None:
    actions = pa.array(["sneeze", None] + ["play"] * 198)
    raw = events.set_column(3, "action", actions)

    plot = events_by_hour(raw, schema=schema, day=day)

    assert plot.title.startswith("200 events")
    assert plot.png != events_by_hour(events, schema=schema, day=day).png


def test_an_empty_day_still_draws(events: pa.Table, schema: EventSchema, day: date) -> None:
    plot = events_by_hour(events.slice(0, 0), schema=schema, day=day)

    assert plot.title == "0 events on 2026-01-03"


def test_the_markdown_holds_the_picture_itself() -> None:
    plot = gate_figures([OPEN])

    head, _, data = plot.markdown.rstrip(")").partition("base64,")
    assert head == f"![{plot.title}](data:image/png;"
    assert base64.b64decode(data) == plot.png


def test_the_same_data_gives_the_same_picture() -> None:
    assert loss_curve(CURVE) == loss_curve(CURVE)


def test_titles_state_the_fact() -> None:
    assert tokens_per_user(np.array([1, 1, 2]), num_events=8).title == (
        "8 events became 4 tokens (2.0 to 1); the median user has 1"
    )
    assert loss_curve([(0, 7.0), (9, 5.0)], [(5, 6.0), (9, 5.5)]).title == (
        "Training loss 7.000 to 5.000 in 9 steps; validation best 5.500 at step 9"
    )
    assert gate_figures([OPEN, CLOSED]).title == "Gate closed: cosine"
    assert gate_figures([OPEN]).title == "Gate open: all 1 figures hold"


@pytest.mark.parametrize(
    ("value", "is_floor", "is_passed"),
    [(0.8, True, True), (0.79, True, False), (0.8, False, True), (0.81, False, False)],
)
def test_a_figure_on_its_threshold_holds(value: float, is_floor: bool, is_passed: bool) -> None:
    figure = GateFigure(name="any", value=value, threshold=0.8, is_floor=is_floor)

    assert figure.is_passed is is_passed
