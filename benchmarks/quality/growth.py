"""Where new items' weight rows should start: quality on targets that are new items.

    python -m benchmarks.quality.growth --folder <empty folder> --seeds 1,2,3

Titles of the simulated world launch on Mondays. For each of some Mondays and seeds one base is
pretrained on everything before it, then fine-tuned on that Monday once per choice of
``RunConfig.new_items``, and each model is asked for Tuesday, full catalogue; ``base`` is asked too,
which reads these titles by their metadata alone. Differences are paired by Monday and seed; the
standard error is over these.
"""

import argparse
import json
import statistics
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import get_args

from benchmarks.retrained_world import Calendar, RetrainedWorld
from training.config import NewItems
from training.evaluation.evaluate import evaluate_next_day
from training.events.world import WorldParameters
from training.fine_tune import fine_tune
from training.pretrain import pretrain
from training.recipes import load_recipe
from training.tracker import LoggingTracker

MONDAYS = (8, 15, 22)
"""Days of the world, counted from its first, a Sunday."""
METRICS = ("hr_at_10", "ndcg_at_10")
NEW = "items_first_seen_within_7_days"


def measure(world: RetrainedWorld, monday: int, seed: int) -> dict[str, dict[str, float]]:
    """Return the metrics of every choice, on new items and on all, and how many targets there are.

    A new item is one that was first seen on the Monday.
    """
    config = replace(world.recipe, seed=seed)
    here = world.folder / f"{monday}-{seed}"
    base, found = here / "base", {}
    base.mkdir(parents=True)
    pretrain(world.data(monday - 1), config, base, LoggingTracker())
    found["base"] = _asked(world, base, monday + 1)
    for choice in get_args(NewItems):
        tuned = here / choice
        tuned.mkdir()
        way = replace(config, new_items=choice)
        day = world.day(monday)
        fine_tune(base, world.data(monday), way, tuned, LoggingTracker(), day=day)
        found[choice] = _asked(world, tuned, monday + 1)
    return found


def _asked(world: RetrainedWorld, model: Path, number: int) -> dict[str, float]:
    evaluation = evaluate_next_day(model, world.data(number), world.day(number))
    of_new = evaluation.slices[NEW]
    every = evaluation.systems["model"]
    return {
        "new targets": of_new["targets"],
        **{f"new {name}": of_new["systems"]["model"][name] for name in METRICS},
        **{f"all {name}": every[name].value for name in METRICS},
    }


def report(runs: list[dict[str, dict[str, float]]]) -> str:
    """Return the means over runs as Markdown, with the difference to "mean" and its error."""
    columns = [f"{kind} {name}" for kind in ("new", "all") for name in METRICS]
    lines = [f"| start | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for choice, metrics in run.items():
            for column in columns:
                values[choice][column].append(metrics[column])
    for choice, of in values.items():
        cells = []
        for column in columns:
            apart = [a - b for a, b in zip(of[column], values["mean"][column], strict=True)]
            error = statistics.stdev(apart) / len(apart) ** 0.5 if len(apart) > 1 else 0.0
            cells.append(
                f"{statistics.mean(of[column]):.4f} ({statistics.mean(apart):+.4f} ± {error:.4f})"
            )
        lines.append(f"| {choice} | {' | '.join(cells)} |")
    num_new = sum(int(run["mean"]["new targets"]) for run in runs)
    return "\n".join([*lines, "", f"{len(runs)} runs, {num_new} targets that are new items"])


def main() -> None:
    """Print one line of JSON per run, then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="an empty one")
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--mondays", default=",".join(map(str, MONDAYS)))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--users", type=int, default=4_000)
    arguments = parser.parse_args()
    mondays = [int(one) for one in arguments.mondays.split(",")]
    world = RetrainedWorld(
        arguments.folder,
        WorldParameters(num_users=arguments.users),
        load_recipe(arguments.recipe),
        Calendar(
            num_history_days=max(mondays),
            num_daily_before=1,
            num_days_after=0,
            num_label_days=1,
        ),
    )
    world.ingest()
    runs = []
    for monday in mondays:
        for seed in map(int, arguments.seeds.split(",")):
            found = measure(world, monday, seed)
            print(json.dumps({"monday": monday, "seed": seed, **found}), flush=True)
            runs.append(found)
    print(report(runs))


if __name__ == "__main__":
    main()
