"""Models against each other and against popularity, on what users chose on one day."""

from collections.abc import Mapping
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lake.days import start_of
from training.artifact import load_model
from training.contracts import Float64
from training.data import TrainingData
from training.evaluation.asked import sequences_of
from training.evaluation.baselines.popularity import popularity, recent_popularity
from training.evaluation.intervals import estimates
from training.evaluation.questions import Questions, ask_day
from training.evaluation.ranking import METRICS, Float32, Score, rank_targets
from training.evaluation.result import Evaluation
from training.inference import item_features, item_vectors, user_vectors
from training.loop import deterministic


def evaluate_next_day(base_model: Path, data: TrainingData, day: date) -> Evaluation:
    """Return how a model that never saw ``day`` does on it, against both popularities.

    Systems: ``model``, ``popularity``, ``recent_popularity``. ``data`` reaches to the end of the
    day at least. Raises NoDataError when the day has no target.
    """
    questions = ask_day(data, day)
    return _evaluate("next_day", questions, {"model": model_scores(base_model, questions)})


def evaluate_candidate(
    candidate: Path, champion: Path, data: TrainingData, day: date
) -> Evaluation:
    """Return how a model of ``day`` and the one it would replace do on the held-out users' day.

    Systems: ``candidate``, ``champion``, ``popularity``, ``recent_popularity``.
    """
    one_in = load_model(candidate).config.held_out_one_in  # those whom the candidate did not ask
    questions = ask_day(data, day, held_out_one_in=one_in)
    models = {
        "candidate": model_scores(candidate, questions),
        "champion": model_scores(champion, questions),
    }
    return _evaluate("candidate", questions, models)


def model_scores(folder: Path, questions: Questions) -> Score:
    """Return a model's scores from the vectors that it would have published for the day."""
    model = load_model(folder)
    as_of = start_of(questions.day)
    with deterministic(model.config.num_threads):
        items = item_features(model, questions.catalogue)
        rows = items.rows(questions.candidates).numpy()
        item_MS = item_vectors(model, items)[rows]
        user_US = user_vectors(
            model, items, questions.histories, users=questions.user_ids, as_of=as_of
        )

    def score(users: slice) -> Float32:
        scores: Float32 = user_US[users] @ item_MS.T
        return scores

    return score


def _evaluate(kind: str, questions: Questions, models: Mapping[str, Score]) -> Evaluation:
    chosen = sequences_of(questions.histories, questions.schema, questions.candidates)
    systems = {
        **models,
        "popularity": popularity(chosen),
        "recent_popularity": recent_popularity(chosen, until=start_of(questions.day)),
    }
    metrics: dict[str, Float64] = {}
    coverage: dict[str, float] = {}
    for name, score in systems.items():
        metrics[name], coverage[name] = rank_targets(
            score,
            questions.user_R,
            questions.target_R,
            num_users=len(questions.user_ids),
            num_candidates=len(questions.candidates),
        )
    pairs = [(one, other) for one, other in combinations(systems, 2) if one in models]
    sums = {name: _by_user(questions, values) for name, values in metrics.items()}
    sums |= {f"{one} - {other}": sums[one] - sums[other] for one, other in pairs}
    counts_U = np.bincount(questions.user_R, minlength=len(questions.user_ids))
    found = iter(estimates(np.concatenate(list(sums.values()), axis=1), counts_U))
    estimated = {name: {metric: next(found) for metric in METRICS} for name in sums}
    return Evaluation(
        kind=kind,
        day=questions.day,
        counts={
            "targets": len(questions.user_R),
            "users": len(questions.user_ids),
            "users_without_history": int(questions.has_no_history_U.sum()),
            "candidates": len(questions.candidates),
            "left_out_continued": questions.num_continued,
            "left_out_not_candidates": questions.num_not_candidates,
        },
        systems={name: estimated[name] for name in systems},
        coverage_at_10=coverage,
        differences={name: one for name, one in estimated.items() if name not in systems},
        slices=_slices(questions, metrics),
        per_user=_per_user(questions, {name: sums[name] for name in systems}, counts_U),
    )


def _by_user(questions: Questions, values_R: Float64) -> Float64:
    """Return the sums over each user's targets, float64[U, metrics]."""
    return np.stack(
        [
            np.bincount(questions.user_R, weights=column, minlength=len(questions.user_ids))
            for column in values_R.T
        ],
        axis=1,
    )


def _slices(questions: Questions, metrics: Mapping[str, Float64]) -> dict[str, dict[str, Any]]:
    """Return means per slice; one without targets has no means."""
    masks = {
        "items_first_seen_within_7_days": questions.is_new_item_R,
        "histories_under_5_tokens": questions.is_short_history_R,
    }
    return {
        name: {
            "targets": int(mask.sum()),
            "systems": {
                system: dict(zip(METRICS, values[mask].mean(axis=0).tolist(), strict=True))
                for system, values in metrics.items()
                if mask.any()
            },
        }
        for name, mask in masks.items()
    }


def _per_user(
    questions: Questions, sums: Mapping[str, Float64], counts_U: "np.ndarray[Any, Any]"
) -> pa.Table:
    columns: dict[str, Any] = {"user_id": questions.user_ids, "num_targets": counts_U}
    for system, values in sums.items():
        for metric, column in zip(METRICS, values.T, strict=True):
            columns[f"{system}/{metric}"] = column
    return pa.table({name: pa.array(column) for name, column in columns.items()})
