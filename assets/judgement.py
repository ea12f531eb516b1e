"""Judging a day's model: may it replace the champion, and how good is what is served?"""

from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from lake.lake import Written
from training.data import TrainingData
from training.evaluation.result import Evaluation, write_evaluation

GATE_METRIC = "ndcg_at_10"
"""Between two models its interval is a quarter narrower than that of hr_at_10, as a share."""


def write_judgement(
    candidate: Path,
    champion: Path,
    data: TrainingData,
    *,
    day: date,
    margin: float,
    folder: Path,
) -> Written:
    """Write ``candidate/`` and ``next_day/``, each an evaluation with its per-user table.

    The figures hold the quality gate (candidate against champion on withheld users: passed when
    the whole interval of the difference lies above minus ``margin`` of the champion's value) and
    the champion's scores on the day, which it never saw, against popularity.
    """
    from training.evaluation.evaluate import evaluate_candidate, evaluate_next_day

    against_champion = evaluate_candidate(candidate, champion, data, day)
    of_champion = evaluate_next_day(champion, data, day)
    for name, evaluation in (("candidate", against_champion), ("next_day", of_champion)):
        (folder / name).mkdir()
        write_evaluation(evaluation, folder / name)
    return Written(
        of_champion.counts["targets"],
        {"quality gate": quality_gate(against_champion, margin), "next day": figures(of_champion)},
    )


def quality_gate(evaluation: Evaluation, margin: float) -> dict[str, Any]:
    """Return the verdict on the candidate, with what it rests on.

    Differences are shares of the champion's value, so that one margin suits logs of any size and
    sparsity; of a champion that finds nothing they are the plain differences.
    """
    difference = evaluation.differences["candidate - champion"][GATE_METRIC]
    unit = evaluation.systems["champion"][GATE_METRIC].value or 1.0
    return {
        "metric": f"{GATE_METRIC}, full catalogue, withheld users, mean over targets, as a share "
        "of the champion's",
        "difference": difference.value / unit,
        "lower": difference.low / unit,
        "upper": difference.high / unit,
        "num_users": evaluation.counts["users"],
        "num_targets": evaluation.counts["targets"],
        **{name: one[GATE_METRIC].value for name, one in evaluation.systems.items()},
        "margin": margin,
        "is_passed": difference.low / unit >= -margin,
    }


def figures(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as plain figures: by system and metric, and the paired differences."""
    return {
        "counts": dict(evaluation.counts),
        "systems": {
            name: {metric: asdict(one) for metric, one in of_system.items()}
            for name, of_system in evaluation.systems.items()
        },
        "differences": {
            name: {metric: asdict(one) for metric, one in pair.items()}
            for name, pair in evaluation.differences.items()
        },
        "coverage_at_10": dict(evaluation.coverage_at_10),
    }
