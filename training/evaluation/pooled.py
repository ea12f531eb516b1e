"""One model on the questions of several days, pooled: where a day alone has too few targets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lake.days import end_of
from training.data import TrainingData
from training.errors import NoDataError
from training.evaluation.evaluate import evaluate_next_day
from training.evaluation.intervals import Estimate, estimates
from training.evaluation.ranking import METRICS
from training.evaluation.result import Evaluation

MODEL = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledEvaluation:
    """Means over the targets of all days; metric names are those of ``ranking.METRICS``.

    Each day is asked as ``evaluate_next_day`` asks it: histories and popularity up to its start,
    the model as it is. Intervals draw users, each with all of their days.
    """

    days: tuple[date, ...]
    """Days with targets."""
    num_targets: int
    num_users: int
    systems: dict[str, dict[str, Estimate]]
    """By system, then by metric."""
    differences: dict[str, dict[str, Estimate]]
    """By ``"model - b"``, then by metric: paired."""
    slices: dict[str, dict[str, Any]]
    """By slice: its number of targets, and by system the metrics' means."""


def evaluate_days(model: Path, data: TrainingData, days: Sequence[date]) -> PooledEvaluation:
    """Return how a model that saw none of ``days`` does on them, against both popularities.

    A day without targets asks nothing. Raises NoDataError when no day has any, or when ``data``
    ends before the last one does.
    """
    if data.as_of < end_of(max(days)):
        raise NoDataError(f"evaluation: {max(days)} ends after the data, at {data.as_of}")
    return pooled(list(_of_days(model, data, days)))


def _of_days(model: Path, data: TrainingData, days: Sequence[date]) -> Iterator[Evaluation]:
    for day in days:
        try:
            yield evaluate_next_day(model, data, day)
        except NoDataError:
            continue


def pooled(evaluations: Sequence[Evaluation]) -> PooledEvaluation:
    """Return the evaluations of days, which asked the same systems, as one."""
    if not evaluations:
        raise NoDataError("evaluation: no target on any of the days")
    tables = [pl.DataFrame(one.per_user) for one in evaluations]
    users = pl.concat(tables).group_by("user_id").sum().sort("user_id")
    counts_U = users["num_targets"].to_numpy()
    names = list(evaluations[0].systems)
    sums = {name: _sums(users, name) for name in names}
    sums |= {f"{MODEL} - {name}": sums[MODEL] - sums[name] for name in names if name != MODEL}
    found = iter(estimates(np.concatenate(list(sums.values()), axis=1), counts_U))
    estimated = {name: {metric: next(found) for metric in METRICS} for name in sums}
    return PooledEvaluation(
        days=tuple(one.day for one in evaluations),
        num_targets=int(counts_U.sum()),
        num_users=users.height,
        systems={name: estimated[name] for name in names},
        differences={name: one for name, one in estimated.items() if name not in names},
        slices={name: _slice(name, evaluations) for name in evaluations[0].slices},
    )


def _sums(users: pl.DataFrame, system: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Return the sums over each user's targets, float64[U, metrics]."""
    return np.stack([users[f"{system}/{metric}"].to_numpy() for metric in METRICS], axis=1)


def _slice(name: str, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    parts = [part for one in evaluations if (part := one.slices[name])["targets"]]
    num_targets = sum(part["targets"] for part in parts)
    systems = parts[0]["systems"] if parts else {}
    return {
        "targets": num_targets,
        "systems": {
            system: {
                metric: sum(p["targets"] * p["systems"][system][metric] for p in parts)
                / num_targets
                for metric in METRICS
            }
            for system in systems
        },
    }
