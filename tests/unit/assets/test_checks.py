from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from assets.checks import verdict
from assets.judgement import quality_gate
from training.evaluation.intervals import Estimate
from training.evaluation.result import Evaluation


def gate(champion: float, low: float, high: float, margin: float = 0.25) -> dict[str, Any]:
    def only(value: Estimate) -> dict[str, Estimate]:
        return {"ndcg_at_10": value}

    middle = (low + high) / 2
    candidate = champion + middle
    evaluation = Evaluation(
        kind="candidate",
        day=date(2026, 2, 1),
        counts={"users": 98, "targets": 150},
        systems={
            "candidate": only(Estimate(candidate, candidate, candidate)),
            "champion": only(Estimate(champion, champion, champion)),
        },
        coverage_at_10={},
        differences={"candidate - champion": only(Estimate(middle, low, high))},
        slices={},
        per_user=pa.table({}),
    )
    return quality_gate(evaluation, margin)


@pytest.mark.parametrize(
    ("low", "is_passed"), [(-0.04, True), (-0.06, False)], ids=["within", "beyond"]
)
def test_the_margin_is_a_share_of_what_the_champion_finds(low: float, is_passed: bool) -> None:
    assert gate(0.2, low, 0.02)["is_passed"] is is_passed
    assert gate(0.02, low / 10, 0.002)["is_passed"] is is_passed


def test_a_champion_that_finds_nothing_is_matched_by_anything() -> None:
    assert gate(0.0, 0.0, 0.1)["is_passed"]


def test_a_refusal_says_by_how_much_and_what_follows() -> None:
    told = verdict(gate(0.2, -0.06, 0.02))
    assert "differs from the champion by -10.0% [-30.0%, +10.0%] of its ndcg_at_10" in told
    assert "150 targets of 98 withheld users; want the interval above -25%" in told
    assert "the champion stays and the day is not published" in told
    assert "stays" not in verdict(gate(0.2, -0.01, 0.02))
