"""Where new items' weight rows should start: quality on targets that are new items.

    python -m benchmarks.quality.growth --folder <empty folder>

Titles of the simulated world launch on Mondays. For each of some Mondays and seeds one base is
pretrained on everything before it, then fine-tuned on that Monday and on the days after it, one by
one, once per choice of ``RunConfig.new_items``; each model is asked for the next day, full
catalogue. ``base`` is asked as it is: it reads the new titles by their metadata alone. Differences
are to ``mean``, paired by Monday and seed; the standard error is over these.
"""

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from benchmarks.quality.arguments import at_least_one, refusing, seeds
from benchmarks.retrained_world import Calendar, RetrainedWorld
from training.config.run import NewItems, RunConfig
from training.evaluation.evaluate import evaluate_next_day
from training.events.world import WorldParameters
from training.fine_tune import fine_tune
from training.pretrain import pretrain
from training.recipes import load_recipe
from training.tracker import LoggingTracker

MONDAYS = "8,15,22"
"""Days of the world, counted from its first, a Sunday."""
METRICS = ("new hr_at_10", "new ndcg_at_10", "all hr_at_10", "all ndcg_at_10")
NEW = "items_first_seen_within_7_days"

Asked = Mapping[str, float]
"""Metrics of one model on one day, on new items and on all, and the number of new targets."""
Run = Mapping[str, Sequence[Asked]]
"""Of each choice, the days after a Monday."""


def measure(world: RetrainedWorld, monday: int, seed: int, num_days: int) -> Run:
    """Return how every choice does on each of some days after a Monday."""
    config = replace(world.recipe, seed=seed)
    here = world.folder / f"{monday}-{seed}"
    base = _made(here / "base")
    pretrain(world.data(monday - 1), config, base, LoggingTracker())
    days = range(monday + 1, monday + 1 + num_days)
    found = {"base": [_asked(world, base, number) for number in days]}
    for choice in get_args(NewItems):
        model, found[choice] = base, []
        for number in days:
            tuned = _made(here / f"{choice}-{number}")
            _fine_tune(world, model, tuned, replace(config, new_items=choice), number - 1)
            model = tuned
            found[choice].append(_asked(world, model, number))
    return found


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _fine_tune(
    world: RetrainedWorld, base: Path, folder: Path, config: RunConfig, number: int
) -> None:
    fine_tune(base, world.data(number), config, folder, LoggingTracker(), day=world.day(number))


def _asked(world: RetrainedWorld, model: Path, number: int) -> Asked:
    evaluation = evaluate_next_day(model, world.data(number), world.day(number))
    of_new, every = evaluation.slices[NEW], evaluation.systems["model"]
    values = {"targets": float(of_new["targets"])}
    for metric in METRICS:
        kind, name = metric.split()
        values[metric] = of_new["systems"]["model"][name] if kind == "new" else every[name].value
    return values


def report(runs: Sequence[Run]) -> str:
    """Return a table per metric: means over runs, differences to "mean" and their error."""
    days = range(len(runs[0]["mean"]))
    lines = []
    for metric in METRICS:
        lines += [
            f"| {metric} | {' | '.join(f'day {day + 1}' for day in days)} |",
            "|---" * (len(days) + 1) + "|",
        ]
        for choice in runs[0]:
            cells = [
                _cell(
                    [run[choice][day][metric] for run in runs],
                    [run["mean"][day][metric] for run in runs],
                )
                for day in days
            ]
            lines.append(f"| {choice} | {' | '.join(cells)} |")
        lines.append("")
    targets = [f"{sum(run['mean'][day]['targets'] for run in runs):.0f}" for day in days]
    return "\n".join(
        [*lines, f"{len(runs)} runs; targets that are new items: {', '.join(targets)}"]
    )


def _cell(values: Sequence[float], reference: Sequence[float]) -> str:
    apart = [one - other for one, other in zip(values, reference, strict=True)]
    error = statistics.stdev(apart) / len(apart) ** 0.5 if len(apart) > 1 else 0.0
    return f"{statistics.mean(values):.4f} ({statistics.mean(apart):+.4f} ± {error:.4f})"


def main() -> None:
    """Print one line of JSON per run, then the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="an empty one")
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--mondays", type=seeds, default=MONDAYS)
    parser.add_argument("--seeds", type=seeds, default="1,2,3")
    parser.add_argument("--days", type=at_least_one, default=4)
    parser.add_argument("--users", type=int, default=4_000)
    arguments = parser.parse_args()
    with refusing(parser):
        _compare(arguments)


def _compare(arguments: argparse.Namespace) -> None:
    mondays: list[int] = arguments.mondays
    plan = Calendar(
        num_history_days=max(mondays),
        num_daily_before=1,
        num_days_after=0,
        num_label_days=arguments.days,
    )
    parameters = WorldParameters(num_users=arguments.users, num_days=plan.num_days)
    world = RetrainedWorld(arguments.folder, parameters, load_recipe(arguments.recipe), plan)
    world.ingest()
    runs = []
    for monday in mondays:
        for seed in arguments.seeds:
            runs.append(measure(world, monday, seed, arguments.days))
            print(json.dumps({"monday": monday, "seed": seed, **runs[-1]}), flush=True)
    print(report(runs))


if __name__ == "__main__":
    main()
