import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from lake.days import start_of
from lake.digests import digest_files
from training.artifact import load_model
from training.errors import NoDataError
from training.evaluation.evaluate import evaluate_candidate, evaluate_next_day
from training.evaluation.questions import ask_day
from training.evaluation.result import Evaluation, write_evaluation
from training.fine_tune import fine_tune
from training.inference import item_features, item_vectors, user_vectors
from training.recipes import tiny


@pytest.fixture(scope="module")
def next_day(trained: Path, small_lake: Any) -> Evaluation:
    day = small_lake.days[4]
    return evaluate_next_day(trained, small_lake.data(day), day)


def test_the_metrics_are_those_of_a_plain_sort_of_the_served_vectors(
    next_day: Evaluation, trained: Path, small_lake: Any
) -> None:
    day = small_lake.days[4]
    model, questions = load_model(trained), ask_day(small_lake.data(day), day)
    items = item_features(model, questions.catalogue)
    item_MS = item_vectors(model, items)[items.rows(questions.candidates).numpy()]
    user_US = user_vectors(
        model, items, questions.histories, users=questions.user_ids, as_of=start_of(day)
    )
    hits = [
        target in np.argsort(-(item_MS @ user_US[user]))[:10]
        for user, target in zip(questions.user_R, questions.target_R, strict=True)
    ]

    assert next_day.systems["model"]["hr_at_10"].value == pytest.approx(np.mean(hits))


def test_differences_are_those_of_the_systems(next_day: Evaluation) -> None:
    difference = next_day.differences["model - popularity"]["mrr"].value
    systems = next_day.systems

    assert difference == pytest.approx(
        systems["model"]["mrr"].value - systems["popularity"]["mrr"].value
    )


def test_candidate_and_champion_answer_the_same_held_out_questions(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    day = small_lake.days[4]
    data = small_lake.data(day)
    fine_tune(trained, data, tiny(), tmp_path, tracker, day=day)

    found = evaluate_candidate(tmp_path, trained, data, day)

    assert set(found.systems) == {"candidate", "champion", "popularity", "recent_popularity"}
    assert "candidate - champion" in found.differences
    assert "popularity - recent_popularity" not in found.differences
    assert 0 < found.counts["users"] < 60


def test_a_model_against_itself_differs_by_nothing(trained: Path, small_lake: Any) -> None:
    day = small_lake.days[4]
    found = evaluate_candidate(trained, trained, small_lake.data(day), day)

    for one in found.differences["candidate - champion"].values():
        assert (one.value, one.low, one.high) == (0.0, 0.0, 0.0)


def test_evaluating_and_writing_again_gives_the_same_bytes(
    next_day: Evaluation, trained: Path, small_lake: Any, tmp_path: Path
) -> None:
    day = small_lake.days[4]
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    write_evaluation(next_day, folders[0])
    write_evaluation(evaluate_next_day(trained, small_lake.data(day), day), folders[1])

    assert digest_files(folders[0]) == digest_files(folders[1])


def test_the_report_states_its_protocol(next_day: Evaluation, tmp_path: Path) -> None:
    written = write_evaluation(next_day, tmp_path)
    value = json.loads((tmp_path / "evaluation.json").read_text())

    assert value["format_version"] == 1
    assert value["protocol"]["seen_items"].startswith("kept")
    assert value["counts"]["targets"] == written.rows
    assert set(value["systems"]["model"]["ndcg_at_10"]) == {"value", "low", "high"}
    assert set(value["slices"]) == {
        "items_first_seen_within_7_days",
        "histories_under_5_tokens",
    }


def test_sums_per_user_add_up_to_the_means(next_day: Evaluation, tmp_path: Path) -> None:
    write_evaluation(next_day, tmp_path)
    table = pq.read_table(tmp_path / "per_user.parquet")

    total = table["num_targets"].to_numpy().sum()
    assert total == next_day.counts["targets"]
    for system, metrics in next_day.systems.items():
        mean = table[f"{system}/mrr"].to_numpy().sum() / total
        assert mean == pytest.approx(metrics["mrr"].value)


def test_a_day_without_targets_is_refused_and_never_a_zero(trained: Path, small_lake: Any) -> None:
    with pytest.raises(NoDataError):
        evaluate_next_day(trained, small_lake.data(small_lake.days[3]), small_lake.days[4])
