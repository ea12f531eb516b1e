import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from assets.drawing import Plot, read_plot
from assets.plots import (
    EmbeddingFigures,
    embeddings,
    events_by_hour,
    loss_curve,
    tokens_per_user,
)
from assets.trends import (
    GateHistory,
    Measured,
    PairedFigure,
    gates_by_day,
    paired_difference,
    quality_by_day,
)
from training.schema import EventSchema

MAX_BYTES = 60_000
WIDTH = 660

draw = np.random.default_rng(3)
CURVE = [(step, 4 + 3 * float(np.exp(-step / 200))) for step in range(0, 2000, 2)]
DAYS = ["2026-01-31", "2026-02-01"]
CLOSED = GateHistory(name="cosine", days=DAYS, values=[0.9, 0.41], thresholds=[0.8, 0.8])
OPEN = GateHistory(name="coverage", days=DAYS[1:], values=[1.0], thresholds=[1.0])
AUC = PairedFigure(
    metric="AUC", after=0.7205, before=0.6571, difference=0.0634, lower=0.0542, upper=0.0741
)


def quality(values: Sequence[float]) -> Plot:
    days = [f"2026-02-{day + 1:02d}" for day in range(len(values))]
    model = [
        Measured(day=day, value=one, low=one - 0.01, high=one + 0.02)
        for day, one in zip(days, values, strict=True)
    ]
    nothing = [Measured(day=day, value=0.0, low=0.0, high=0.0) for day in days]
    systems = {"model": model, "popularity": nothing}
    return quality_by_day(
        {"HR@10": systems, "NDCG@10": systems}, cut="full catalogue", verdict="better"
    )


def vectors(norms: dict[str, Any], cosines: Any = None, num_ages: int = 40) -> Plot:
    ages = np.arange(num_ages)
    return embeddings(
        EmbeddingFigures(norms=norms, user_days=ages, item_days=ages * 200, cosines=cosines)
    )


PLOTS: dict[str, Callable[[], Plot]] = {
    "tokens": lambda: tokens_per_user(draw.geometric(0.1, 3000), num_events=90_000),
    "tokens of nobody": lambda: tokens_per_user(np.array([], dtype=np.int64), num_events=0),
    "tokens of one": lambda: tokens_per_user(np.array([1]), num_events=1),
    "a long loss": lambda: loss_curve(CURVE, CURVE[::100]),
    "a loss of one point": lambda: loss_curve([(0, 7.1)]),
    "quality of a day": lambda: quality([0.18]),
    "quality of a month": lambda: quality(np.linspace(0.1, 0.2, 28).tolist()),
    "embeddings": lambda: vectors(
        {"user": draw.normal(5, 1, 4000), "item": draw.normal(3, 1, 900)},
        1 - np.abs(draw.normal(0, 0.1, 4900)),
    ),
    "embeddings of equals": lambda: vectors({"user": np.ones(9)}, np.ones(9)),
    "embeddings of a first version": lambda: vectors({"user": np.ones(9), "item": np.ones(3)}),
    "embeddings without ages": lambda: vectors({"user": np.ones(9)}, num_ages=0),
    "a closed gate": lambda: gates_by_day([OPEN, CLOSED], day=DAYS[1]),
    "an open gate": lambda: gates_by_day([OPEN], day=DAYS[1]),
    "a ranker": lambda: paired_difference([AUC, AUC], change="embeddings", cut="95 % interval"),
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_a_small_picture_with_a_title(name: str) -> None:
    plot = PLOTS[name]()

    with Image.open(io.BytesIO(plot.png)) as picture:
        assert picture.format == "PNG"
        assert picture.width == WIDTH
    assert len(plot.png) < MAX_BYTES
    assert plot.title


def lazily(events: pa.Table) -> pl.LazyFrame:
    return pl.LazyFrame(events)


def test_events_are_counted_by_the_hour(events: pa.Table, schema: EventSchema, day: date) -> None:
    plot = events_by_hour(lazily(events), schema=schema, day=day)

    assert plot.title.startswith("200 events on 2026-01-03, most of them at ")
    assert len(plot.png) < MAX_BYTES


def test_raw_events_with_strange_actions_still_draw(
    events: pa.Table, schema: EventSchema, day: date
) -> None:
    actions = pa.array(["sneeze", None] + ["play"] * 198)
    raw = events.set_column(3, "action", actions)

    plot = events_by_hour(lazily(raw), schema=schema, day=day)

    assert plot.title.startswith("200 events")
    assert plot.png != events_by_hour(lazily(events), schema=schema, day=day).png


def test_an_empty_day_still_draws(events: pa.Table, schema: EventSchema, day: date) -> None:
    plot = events_by_hour(lazily(events.slice(0, 0)), schema=schema, day=day)

    assert plot.title == "0 events on 2026-01-03"


def test_the_markdown_holds_the_picture_itself() -> None:
    plot = gates_by_day([OPEN], day=DAYS[1])

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
    assert gates_by_day([OPEN, CLOSED], day=DAYS[1]).title == "2026-02-01: gate closed by cosine"
    assert gates_by_day([OPEN], day=DAYS[1]).title == (
        "2026-02-01: gate open, all 1 figures reach their thresholds"
    )
    assert quality([0.1, 0.2]).title == "2026-02-02: better"
    assert paired_difference([AUC], change="embeddings", cut="users").title == (
        "AUC: +.063 [+.054, +.074] with embeddings (0.7205 against 0.6571)"
    )
    assert vectors({"user": np.ones(9)}, np.ones(9)).title == (
        "9 embeddings, median cosine with the version before 1.000"
    )


def test_a_picture_keeps_its_title_in_its_file() -> None:
    plot = loss_curve(CURVE)

    assert read_plot(plot.png) == plot
    long = gates_by_day([replace(CLOSED, name="a long name " * 12)], day=DAYS[1])
    assert read_plot(long.png).title.split() == long.title.split()


@pytest.mark.parametrize(("value", "is_passed"), [(0.8, True), (0.79, False)])
def test_a_figure_on_its_threshold_holds(value: float, is_passed: bool) -> None:
    gate = GateHistory(name="any", days=DAYS[1:], values=[value], thresholds=[0.8])

    assert gate.is_passed is is_passed


def test_a_loss_of_the_whole_interval_is_said_with_its_signs() -> None:
    worse = PairedFigure(
        metric="AUC", after=0.6, before=0.65, difference=-0.05, lower=-0.06, upper=-0.04
    )

    assert worse.words == "-.050 [-.060, -.040]"
    assert replace(worse, difference=-10.5).words == "-10.500 [-.060, -.040]"
