from typing import Any

from assets.check_results import MEANINGS, gate_numbers, numbers, told, what_failed
from assets.suites import BLOCKING_CHECKS, WARNING_CHECKS

RATIO: dict[str, Any] = {
    "column": None,
    "is_passed": True,
    "observed": 0.0034812,
    "threshold": "at most 5.0%",
}
STRANGE: dict[str, Any] = {
    "column": "action",
    "is_passed": False,
    "observed": 4,
    "threshold": "one of play, like",
}


def test_every_check_says_what_it_demands() -> None:
    assert set(MEANINGS) == {*BLOCKING_CHECKS, *WARNING_CHECKS}


def test_a_check_that_passes_says_its_figure_and_threshold_too() -> None:
    assert told([RATIO]) == "the day has 0.35%, want at most 5.0%"
    volume = {**RATIO, "observed": 1.23456, "threshold": "0.3 to 3 times the trailing median"}
    assert told([volume]) == "the day has 1.235, want 0.3 to 3 times the trailing median"
    first_days = told([{**volume, "observed": None}])
    assert first_days == "the day has nothing to judge, want 0.3 to 3 times the trailing median"


def test_a_refusal_names_what_fails_alone() -> None:
    assert what_failed([RATIO]) is None
    assert what_failed([RATIO, STRANGE]) == "action breaks it in 4 rows, want one of play, like"
    refused = {**RATIO, "is_passed": False, "observed": 0.0501}
    assert what_failed([refused]) == "the day has 5.01%, want at most 5.0%"


def test_what_fails_is_said_first() -> None:
    assert told([{**STRANGE, "is_passed": True, "observed": 0}, STRANGE]) == (
        "action breaks it in 4 rows, want one of play, like; action holds, want one of play, like"
    )


def test_a_check_without_anything_to_judge_says_so() -> None:
    assert told([]) == "the schema has nothing to judge here"
    assert numbers([]) == {}


def test_figures_are_numbers_to_plot() -> None:
    shown = numbers([RATIO, STRANGE])

    assert shown["figure"] == 0.0034812
    assert shown["rows of action that break it"] == 4
    assert [one.data["verdict"] for one in shown["judged"].records] == ["pass", "FAIL"]
    assert [one.data["found"] for one in shown["judged"].records] == ["0.35%", 4]


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
