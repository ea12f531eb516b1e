"""Recipes side by side on the days before a world's test days: quality of the base, and its cost.

    python -m benchmarks.recipes --workspace <folder> --until 2026-01-28 demo my_module:recipe

Every recipe pretrains on the tokens of the workspace before ``--until`` and is asked for the days
from there on, full catalogue, against popularity on the same targets. The demo reports on days from
the first after its base; choose ``--until`` and ``--days`` so that they end before it.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from assets.io_manager import UNPARTITIONED
from assets.judgement import quality_gate
from assets.workspace import Workspace
from training.data import TrainingData
from training.evaluation.evaluate import evaluate_candidate, evaluate_next_day
from training.evaluation.result import Evaluation
from training.fine_tune import fine_tune
from training.pretrain import pretrain
from training.recipes import load_recipe
from training.tracker import LoggingTracker

METRICS = ("hr_at_10", "ndcg_at_10")


def data_before(workspace: Workspace, day: date) -> TrainingData:
    """Return what the workspace's lake holds of the days before ``day``."""
    lake, newest = workspace.lake, (day - timedelta(days=1)).isoformat()
    return TrainingData(
        token_folders=workspace.paths(lake.refs("interaction_tokens", through=newest)),
        prefix_folder=lake.path(lake.require("history_prefix", UNPARTITIONED)),
        catalogue_folder=lake.path(lake.require("catalogue", newest)),
        vocabulary_folder=lake.path(lake.require("vocabulary", newest)),
        as_of=datetime(day.year, day.month, day.day, tzinfo=UTC),
    )


def measure(workspace: Workspace, recipe: str, days: list[date]) -> dict[str, object]:
    """Return quality over ``days``, means over all their targets, and the seconds of training.

    ``base`` is asked for every day as it is; ``daily`` is the base fine-tuned through the day
    before, as the lifecycle serves it. ``gates`` are the differences that the quality gate sees,
    with their intervals.
    """
    config = load_recipe(recipe)
    means, gates = Means(), []
    with tempfile.TemporaryDirectory() as folder:
        base = daily = Path(folder, "base")
        base.mkdir()
        started = time.process_time()
        pretrain(data_before(workspace, days[0]), config, base, LoggingTracker())
        pretraining_s = time.process_time() - started
        started = time.process_time()
        for day in days:
            data = data_before(workspace, day + timedelta(days=1))
            means.add("base", evaluate_next_day(base, data, day))
            means.add("daily", evaluate_next_day(daily, data, day))
            tuned = Path(folder, day.isoformat())
            tuned.mkdir()
            fine_tune(daily, data, config, tuned, LoggingTracker(), day=day)
            gate = quality_gate(evaluate_candidate(tuned, daily, data, day), margin=0.25)
            gates.append([round(gate[name], 3) for name in ("difference", "lower", "upper")])
            daily = tuned
    return {
        "recipe": recipe,
        "pretraining_cpu_s": round(pretraining_s),
        "days_cpu_s": round(time.process_time() - started),
        **means.figures(),
        "gates": gates,
    }


class Means:
    """Means over the targets of several days, by model and metric, and of the better popularity."""

    def __init__(self) -> None:
        """Start empty."""
        self._sums: dict[str, float] = defaultdict(float)
        self._targets: dict[str, int] = defaultdict(int)

    def add(self, name: str, evaluation: Evaluation) -> None:
        """Add a day of one model."""
        num_targets = evaluation.counts["targets"]
        self._targets[name] += num_targets
        for metric in METRICS:
            for system, values in evaluation.systems.items():
                key = f"{name} {metric}" if system == "model" else f"{system} {metric}"
                if system == "model" or name == "base":
                    self._sums[key] += num_targets * values[metric].value

    def figures(self) -> dict[str, float]:
        """Return the means."""
        num_targets = self._targets["base"]
        means = {key: round(value / num_targets, 4) for key, value in self._sums.items()}
        return {**means, "targets": num_targets}


def main() -> None:
    """Print one line of JSON per recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--until", type=date.fromisoformat, required=True)
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("recipes", nargs="+")
    arguments = parser.parse_args()
    workspace = Workspace.open(arguments.workspace)
    days = [arguments.until + timedelta(days=n) for n in range(arguments.days)]
    for recipe in arguments.recipes:
        print(json.dumps(measure(workspace, recipe, days)), flush=True)


if __name__ == "__main__":
    main()
