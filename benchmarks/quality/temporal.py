r"""Recipes against baselines on the last days of a log, at once and with serving delays.

    python -m benchmarks.quality.temporal --source movietweetings --data <folder> --days 7
    python -m benchmarks.quality.temporal --workspace <folder> --recipes kuairand --seeds 1,2,3
    python -m benchmarks.quality.temporal --simulated 4000 --recipes demo

Everything is learned from before the days that are asked: the last ``--days``, or, to choose by,
those before them. Each ``--change`` is one more row of each recipe. Prints Markdown; ``--ask test``
appends each use of the last days to ``--log``.
Of the simulated world, the true worth of titles is asked as well: the ceiling.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

from benchmarks.quality.arguments import at_least_one, names, refusing, seeds
from benchmarks.quality.changes import configs_of
from benchmarks.quality.logs import DatedLog, published_log, source_log, workspace_log
from benchmarks.quality.oracle import oracle
from benchmarks.quality.report import (
    Answered,
    answers,
    configurations,
    delays,
    processor,
    report,
)
from benchmarks.quality.systems import FAMILIES, Family, Fitted, System, baseline, trained_as
from benchmarks.quality.uses import log_uses
from lake.days import start_of
from training.config.run import RunConfig
from training.errors import NoDataError
from training.evaluation.asked import Asked
from training.evaluation.baselines.popularity import recent_popularity
from training.evaluation.delay import DELAYS_HOURS, delayed
from training.evaluation.models import model_score
from training.evaluation.temporal import temporal
from training.events.simulated import SimulatedWorld
from training.events.world import WorldParameters

RULES = ("removed", "kept")


def questions(log: DatedLog, first: date, days: int) -> Asked:
    """Return the questions of some days; what is learned from ends before the first of them.

    Raises NoDataError where that is nothing.
    """
    until = first + timedelta(days=days)
    learned = log.before(first)
    if not learned.histories().num_tokens:
        raise NoDataError(f"{log.name}: nothing is known before {first}: want fewer days")
    return temporal(
        log.before(until).histories(),
        learned=learned.histories(),
        schema=learned.schema(),
        catalogue=log.described(first, until),
        split_at=start_of(first),
        until=start_of(until),
    )


def systems_of(
    log: DatedLog,
    first: date,
    days: int,
    configs: Iterable[tuple[str, RunConfig]],
    *,
    models: Path | None = None,
) -> list[System]:
    """Return the baselines and the trained configs, of what was known before a day.

    Baselines are chosen by the same number of days before it. ``models`` is where models are kept,
    or found.
    """
    asked, validation = questions(log, first, days), questions(log, _earlier(first, days), days)
    recent = Family(
        name="recent_popularity",
        grid=[None],
        fit=lambda learned, _: Fitted(
            score=lambda _: recent_popularity(learned, until=start_of(first))
        ),
    )
    return [
        *(baseline(one, validation=validation, asked=asked) for one in (recent, *FAMILIES)),
        *(
            trained_as(name, config, log.before(first), model_score, models=models)
            for name, config in configs
        ),
    ]


def _earlier(day: date, days: int) -> date:
    return day - timedelta(days=days)


def compared(
    log: DatedLog, first: date, days: int, systems: Sequence[System], uses: Path | None
) -> Iterator[str]:
    """Return the lines to print; writes the log of uses where there is one."""
    asked = questions(log, first, days)
    late = {hours: delayed(asked, hours=hours) for hours in DELAYS_HOURS}
    found = {hours: answers(one, systems) for hours, one in late.items()}
    yield f"# {log.name}: {days} days from {first}"
    for rule in RULES:
        of_rule: dict[int, list[Answered]] = {hours: one[rule] for hours, one in found.items()}
        yield f"\n## Seen items {rule}\n"
        yield f"{len(asked.candidates):,} items that are valid in these days, all of them"
        yield "candidates; equal scores in the expectation over their orders; intervals: 95 %,"
        yield "over users; ±: over seeds; models know the instant of a question and nothing else of"
        yield f"it; trained and chosen on {processor()}."
        yield from report(asked, of_rule[0])
        yield ""
        yield from delays(asked, of_rule)
        if uses:
            yield "\nUses:\n"
            for hours, answered in of_rule.items():
                about = {
                    "protocol": "temporal",
                    "data": log.name,
                    "first_day": first.isoformat(),
                    "days": days,
                    "seen_items": rule,
                    "delay_hours": hours,
                }
                yield from log_uses(uses, answered, about)
    yield "\n## Configurations\n"
    yield from configurations(systems)


def main(given: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--workspace", type=Path)
    place.add_argument("--data", type=Path)
    place.add_argument("--simulated", type=int, metavar="USERS")
    parser.add_argument("--source", choices=["kuairand", "movietweetings"], help="of --data")
    parser.add_argument("--days", type=at_least_one, default=3)
    parser.add_argument("--recipes", type=names, default=[])
    parser.add_argument("--change", action="append", default=[], help="of every recipe")
    parser.add_argument("--seeds", type=seeds, default=[1])
    parser.add_argument("--ask", choices=["validation", "test"], default="validation")
    parser.add_argument("--models", type=Path, help="folder that keeps trained models")
    parser.add_argument("--log", type=Path, help="JSON lines; needed to ask the last days")
    arguments = parser.parse_args(given)
    if arguments.ask == "test" and arguments.log is None:
        parser.error("--ask test wants --log: every use of the last days is written down")
    if arguments.data and not arguments.source:
        parser.error("--data wants --source")
    with refusing(parser):
        for line in _asked(arguments):
            print(line, flush=True)


def _asked(arguments: argparse.Namespace) -> Iterator[str]:
    days: int = arguments.days
    changed = configs_of(arguments.recipes, arguments.change)
    truth = None
    if arguments.simulated is not None:
        world = SimulatedWorld(WorldParameters(num_users=arguments.simulated))
        log, truth = source_log(world.name, world), world.truth
    elif arguments.data:
        log = published_log(arguments.source, arguments.data)
    else:
        log = workspace_log(arguments.workspace)
    first = _earlier(log.last_day + timedelta(days=1), days)
    is_test = arguments.ask == "test"
    first = first if is_test else _earlier(first, days)
    configs = [
        (name, replace(config, seed=seed))
        for name, config in changed.items()
        for seed in arguments.seeds
    ]
    systems = systems_of(log, first, days, configs, models=arguments.models)
    if truth is not None:
        told = log.before(first + timedelta(days=days)).histories()
        systems.append(oracle(truth, questions(log, first, days), told))
    yield from compared(log, first, days, systems, arguments.log if is_test else None)


if __name__ == "__main__":
    main()
