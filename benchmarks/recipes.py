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
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from assets.io_manager import UNPARTITIONED
from assets.workspace import Workspace
from training.data import TrainingData
from training.evaluation.evaluate import evaluate_next_day
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
    """Return quality over ``days``, a mean over all their targets, and the seconds of training."""
    with tempfile.TemporaryDirectory() as folder:
        cpu_s, wall_s = time.process_time(), time.monotonic()
        pretrain(
            data_before(workspace, days[0]), load_recipe(recipe), Path(folder), LoggingTracker()
        )
        cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s
        evaluations = [
            evaluate_next_day(Path(folder), data_before(workspace, day + timedelta(days=1)), day)
            for day in days
        ]
    targets = [one.counts["targets"] for one in evaluations]
    figures: dict[str, object] = {"recipe": recipe, "cpu_s": round(cpu_s), "wall_s": round(wall_s)}
    for metric in METRICS:
        for system in ("model", "popularity", "recent_popularity"):
            values = [one.systems[system][metric].value for one in evaluations]
            mean = sum(n * value for n, value in zip(targets, values, strict=True)) / sum(targets)
            figures[f"{system} {metric}"] = round(mean, 4)
    widths = [
        one.systems["model"]["hr_at_10"].high - one.systems["model"]["hr_at_10"].low
        for one in evaluations
    ]
    squares = sum((n * w / 2) ** 2 for n, w in zip(targets, widths, strict=True))
    figures["hr_at_10 half width 95 %"] = round(squares**0.5 / sum(targets), 4)
    return {**figures, "targets": sum(targets)}


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
