from typing import Any

import pytest

from assets.check_results import (
    MEANINGS,
    figure_of,
    gate_numbers,
    in_one_row,
    numbers,
    told,
    what_failed,
)
from assets.suites import BLOCKING_CHECKS, WARNING_CHECKS

RATIO: dict[str, Any] = {
    "column": None,
    "is_passed": True,
    "observed": 0.0034812,
    "threshold": "at most 5.0%",
    "unit": "share",
    "note": "",
}
STRANGE: dict[str, Any] = {
    "column": "item_id",
    "is_passed": False,
    "observed": 4,
    "threshold": "no null",
    "unit": "",
    "note": "",
}


def test_every_check_says_what_it_demands() -> None:
    assert set(MEANINGS) == {*BLOCKING_CHECKS, *WARNING_CHECKS}


def test_a_check_that_passes_says_its_figure_and_threshold_too() -> None:
    assert told([RATIO]) == "the day: 0.35%, want at most 5.0%"
    volume = {**RATIO, "observed": 1.23456, "threshold": "0.3 to 3 times", "unit": ""}
    assert told([volume]) == "the day: 1.235, want 0.3 to 3 times"
    first_days = told([{**volume, "observed": None}])
    assert first_days == "the day: nothing to judge, want 0.3 to 3 times"


@pytest.mark.parametrize(
    ("observed", "unit", "shown"),
    [
        (21_600.04, "s", "21,600.0 s"),
        (8.134, "h", "8.1 h"),
        (1.0, "share", "100.00%"),
        (5_101_208, "", "5,101,208"),
        ("-5 to 198,000", "", "-5 to 198,000"),
    ],
)
def test_a_figure_stands_in_its_unit(observed: float | str, unit: str, shown: str) -> None:
    assert figure_of({**RATIO, "observed": observed, "unit": unit}) == shown


def test_a_figure_is_followed_by_what_explains_it() -> None:
    assert told([{**RATIO, "note": "plya: 20 rows"}]).startswith("the day: 0.35% (plya: 20 rows),")


def test_an_account_from_before_units_is_read_all_the_same() -> None:
    old = {name: one for name, one in STRANGE.items() if name not in {"unit", "note"}}
    assert figure_of(old) == "4"


def test_a_refusal_names_what_fails_alone() -> None:
    assert what_failed([RATIO]) is None
    assert what_failed([RATIO, STRANGE]) == "item_id: 4, want no null"


def test_what_fails_is_said_first() -> None:
    assert told([{**STRANGE, "is_passed": True, "observed": 0}, STRANGE]) == (
        "item_id: 4, want no null; item_id: 0, want no null"
    )


def test_a_check_without_anything_to_judge_says_so() -> None:
    assert told([]) == "the schema has nothing to judge here"
    assert numbers([]) == {}


def test_figures_are_numbers_to_plot() -> None:
    shown = numbers([RATIO, STRANGE])

    assert shown["figure"] == 0.0034812
    assert shown["of item_id"] == 4
    assert [one.data["verdict"] for one in shown["judged"].records] == ["pass", "FAIL"]
    assert [one.data["found"] for one in shown["judged"].records] == ["0.35%", "4"]


def test_a_check_of_many_figures_is_one_row_that_names_what_fails() -> None:
    holds = {**STRANGE, "is_passed": True, "observed": 0}

    assert in_one_row("nulls", [holds, holds])["of"] == "2 figures"
    assert in_one_row("nulls", [holds, STRANGE])["found"] == "4"
    assert in_one_row("ratio", [RATIO])["found"] == "0.35%"


def test_the_quality_gate_has_its_threshold_beside_its_figure() -> None:
    gate = {
        "metric": "ndcg_at_10, full catalogue",
        "difference": 0.06,
        "lower": -0.02,
        "upper": 0.15,
        "margin": 0.25,
        "candidate": 0.14,
        "champion": 0.13,
        "num_users": 218,
        "num_targets": 356,
    }

    shown = gate_numbers(gate)

    assert (shown["lower end"], shown["threshold"]) == (-0.02, -0.25)
