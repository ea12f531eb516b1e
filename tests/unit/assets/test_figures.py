from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from assets.figures import gate_figures, shown_figures
from assets.reporting import EMBEDDED, WORK, is_skipped, materialized
from embedding_store.gates import Gate, GatePolicy, GateRecord
from lake.lake import Built
from lake.refs import ArtifactRef

HALF = {"value": 0.5, "low": 0.4, "high": 0.6}
FIGURES: dict[str, dict[str, Any]] = {
    "raw_events": {
        "rows": 4,
        "users": 2,
        "items": 3,
        "late": 3,
        "late_taken": 2,
        "too_late": 1,
        "by_action": {"play": 4},
    },
    "valid_events": {
        "rows": 90,
        "users": 2,
        "items": 3,
        "quarantined": 8,
        "duplicates": 2,
        "by_action": {"play": 90},
        "validation": {
            "rows_in": 100,
            "expectations": [
                {
                    "name": "day_has_rows",
                    "column": None,
                    "is_passed": True,
                    "observed": 90,
                    "threshold": "at least 1",
                },
                {
                    "name": "quarantine_ratio_is_low",
                    "column": None,
                    "is_passed": False,
                    "observed": 8 / 98,
                    "threshold": "at most 5.0%",
                    "unit": "share",
                },
            ],
        },
    },
    "quarantined_events": {"rows": 8, "by_rule": {"action is known": 8, "item was launched": 0}},
    "fine_tuned_model": {
        "curves": {"loss": [[0, 2.0]]},
        "last_loss": 1.234567891,
        "mlflow run": "http://127.0.0.1:5000/#/experiments/1/runs/r",
        "made of": {"base_id": "b"},
        "run_id": "r",
    },
    "model_evaluation": {
        "quality gate": {
            "metric": "ndcg_at_10, full catalogue",
            "candidate": 0.2,
            "champion": 0.19,
            "difference": 0.05,
            "lower": -0.01,
            "upper": 0.1,
            "margin": 0.25,
            "is_passed": True,
            "num_users": 5,
            "num_targets": 7,
        },
        "next day": {
            "counts": {"targets": 9, "users": 4},
            "coverage_at_10": {"model": 0.5},
            "systems": {
                name: {"hr_at_10": HALF, "ndcg_at_10": HALF, "mrr": HALF}
                for name in ("model", "popularity")
            },
            "differences": {
                "model - popularity": {"hr_at_10": HALF, "ndcg_at_10": HALF, "mrr": HALF}
            },
        },
    },
    "stabilised_embeddings": {
        "before": None,
        "after": None,
        "frame": 1,
        "common_users": 0,
        "common_items": 0,
        "score_error": 0.0,
    },
    "vocabulary": {"items": 5, "new_items": 1},
}


def shown(ref: ArtifactRef, asset: str) -> dict[str, Any]:
    return shown_figures(replace(ref, asset=asset, figures=FIGURES[asset]))


@pytest.mark.parametrize("asset", FIGURES)
def test_no_figure_is_a_wall_of_json(ref: ArtifactRef, asset: str) -> None:
    for value in dg.MaterializeResult(metadata=shown(ref, asset)).metadata.values():
        assert not isinstance(value, dict | list | dg.JsonMetadataValue)


def test_shares_of_the_day_are_numbers_to_plot(ref: ArtifactRef) -> None:
    valid = shown(ref, "valid_events")

    assert valid["quarantine share"] == pytest.approx(8 / 98, abs=1e-4)  # what the check judges
    assert valid["duplicate share"] == 0.02
    found = {one.data["check"]: one.data["found"] for one in valid["checks"].records}
    assert found == {"day_has_rows": "90", "quarantine_ratio_is_low": "8.16%"}


def test_rules_that_no_row_breaks_are_left_out(ref: ArtifactRef) -> None:
    broken = shown(ref, "quarantined_events")["rows by broken rule"]

    assert [one.data["rule"] for one in broken.records] == ["action is known"]


def test_quality_is_plotted_for_each_system_and_metric(ref: ArtifactRef) -> None:
    evaluation = shown(ref, "model_evaluation")

    assert evaluation["HR@10, model"] == evaluation["NDCG@10, popularity"] == 0.5
    verdict = evaluation["against the champion"].records[0].data
    assert verdict["difference"] == "+5.0% [-1.0%, +10.0%]"
    assert verdict["want"] == "interval above -25%"


def test_a_training_run_is_a_link_and_its_curve_is_left_to_the_picture(ref: ArtifactRef) -> None:
    model = shown(ref, "fine_tuned_model")

    assert "http://127.0.0.1:5000/#/experiments/1/runs/r" in model["training run"].value
    assert model["loss at the end"] == 1.2346
    assert "curves" not in model


def test_a_first_version_of_a_frame_says_that_it_was_turned_to_nothing(ref: ArtifactRef) -> None:
    assert shown(ref, "stabilised_embeddings")["turned to"] == (
        "nothing: the first version of its frame"
    )


@pytest.mark.parametrize(
    ("built", "said"),
    [
        ({"is_skipped": False}, "built now"),
        ({"is_skipped": True}, "was there already"),
        ({"is_skipped": True, "is_superseded": True}, "was there already and is history"),
    ],
)
def test_a_page_says_whether_the_work_was_done(
    ref: ArtifactRef, built: dict[str, bool], said: str
) -> None:
    made = Built(replace(ref, asset="vocabulary", figures={}), **built)

    metadata = dict(materialized(made).metadata or {})

    assert str(metadata[WORK]).startswith(said)
    assert is_skipped({WORK: dg.MetadataValue.text(metadata[WORK])}) is built["is_skipped"]


def test_the_picture_stands_first_and_the_long_one_last(ref: ArtifactRef) -> None:
    made = replace(ref, asset="vocabulary", figures=FIGURES["vocabulary"])
    built = Built(made, is_skipped=False)

    metadata = materialized(built, metadata={"preview": "linked", EMBEDDED: "long"}).metadata

    assert next(iter(metadata or {})) == "preview"
    assert list(metadata or {})[-1] == EMBEDDED
    assert list(metadata or {}).index("new_items") < list(metadata or {}).index("digest")


def test_late_events_are_told_apart_by_what_became_of_them(ref: ArtifactRef) -> None:
    told = shown(ref, "raw_events")

    assert [told[name] for name in ("late events", "late, taken in", "too late")] == [3, 2, 1]


def test_a_gate_shows_its_figure_threshold_and_note() -> None:
    judged = Gate(name="version_skew", figure=0.84, threshold=0.4, is_passed=True, note="of ten")
    silent = Gate(name="norm_drift", figure=None, threshold=None, is_passed=True, note="opens")
    record = GateRecord(digest="d", evidence="e", gates=(judged, silent), policy=GatePolicy())
    shown = gate_figures(record)
    assert shown["version skew"] == 0.84
    assert "norm drift" not in shown
    rows = [one.data for one in shown["gates"].records]
    assert rows[0] == {
        "gate": "version_skew",
        "figure": "0.84",
        "at least": "0.4",
        "verdict": "pass",
        "note": "of ten",
    }
