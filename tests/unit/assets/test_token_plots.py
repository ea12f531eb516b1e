import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from assets import token_plots
from assets.drawing import Plot

MAX_BYTES = 60_000
NOTHING = np.zeros(0)
draw = np.random.default_rng(2)
TIMES = draw.lognormal(6, 2, 4000)

PLOTS: dict[str, Callable[[], Plot]] = {
    "gaps": lambda: token_plots.gaps(TIMES, TIMES * 2, merge_gap_s=3600),
    "gaps of nobody": lambda: token_plots.gaps(NOTHING, NOTHING, merge_gap_s=3600),
    "gaps of nothing but ties": lambda: token_plots.gaps(np.zeros(9), np.zeros(9), merge_gap_s=0),
    "durations": lambda: token_plots.durations(np.append(TIMES, np.zeros(99))),
    "durations that nobody measured": lambda: token_plots.durations(np.zeros(9)),
    "lengths": lambda: token_plots.lengths(
        draw.geometric(0.2, 900), draw.geometric(0.02, 3000), num_days=28
    ),
    "lengths of nobody": lambda: token_plots.lengths(NOTHING, NOTHING, num_days=1),
    "actions": lambda: token_plots.actions({"play": 0.2, "like": 0.05}, {"shown": 0.75}),
    "actions of nobody": lambda: token_plots.actions({"play": 0.0}, {}),
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_a_small_picture_with_a_title(name: str) -> None:
    plot = PLOTS[name]()

    with Image.open(io.BytesIO(plot.png)) as picture:
        assert picture.format == "PNG"
    assert len(plot.png) < MAX_BYTES
    assert plot.title


def test_titles_state_the_fact() -> None:
    assert token_plots.gaps(np.array([60.0, 7200.0]), NOTHING, merge_gap_s=3600).title == (
        "50.0% of 2 gaps between events on one item are within 1 h and merge"
    )
    assert token_plots.durations(np.array([0.0, 60.0, 60.0])).title == (
        "2 of 3 tokens have a duration: 60 s in the median, 80 % from 60 s to 60 s"
    )
    assert token_plots.lengths(np.array([1]), np.array([1, 2, 9]), num_days=7).title == (
        "3 users have tokens in 7 days: 2 in the median, 9 at the 99th percentile"
    )
    assert token_plots.actions({"play": 0.25}, {"shown": 0.75}).title == (
        "25.0% of the day's events are in tokens"
    )


def test_percentiles_are_lengths_that_users_have() -> None:
    rows = token_plots.percentile_rows([("day", np.arange(1, 101)), ("none", NOTHING)])

    assert rows[0] == {
        "tokens of a user": "day", "users": "100", "p50": "50", "p90": "90", "p99": "99",
        "max": "100",
    }  # fmt: skip
    assert rows[1]["max"] == "–"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (90, "90 s"), (5400, "90 min"), (3600, "1 h"), (172_800, "2 d")],
)
def test_a_time_is_said_in_its_largest_whole_unit(seconds: int, words: str) -> None:
    assert token_plots.spoken(seconds) == words
