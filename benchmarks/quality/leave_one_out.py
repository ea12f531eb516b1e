r"""Recipes against baselines on MovieLens-1M, leave-one-out over all items.

    python -m benchmarks.quality.leave_one_out --data <folder> --variant sas \
        --recipes tiny --seeds 1,2,3

Prints Markdown: quality, lists and slices with seen items removed and kept. Everything is chosen on
the validation questions; ``--ask test`` appends each use of the test questions to ``--log``.
Each ``--change`` is one more row of each recipe: values of its config, as ``ablations`` has them.
With ``--learn-validation`` what was chosen learns from the validation events, too, before it is
asked for the test events, as HSTU's published rows do.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.quality.arguments import names, refusing, seeds
from benchmarks.quality.changes import configs_of
from benchmarks.quality.movielens import MemoryData, read_movielens, user_groups
from benchmarks.quality.report import (
    answers,
    configurations,
    processor,
    report,
)
from benchmarks.quality.systems import FAMILIES, System, baseline, trained_as
from benchmarks.quality.uses import log_uses
from training.config.run import RunConfig
from training.evaluation.leave_one_out import Ask, leave_one_out
from training.evaluation.models import model_score


def systems_of(
    data: MemoryData, configs: Mapping[str, RunConfig], arguments: argparse.Namespace
) -> list[System]:
    """Return the baselines and the trained recipes; nothing held out was learned from."""
    ask: Ask = arguments.ask
    held_out = _held_out(arguments)
    of = {"schema": data.schema(), "catalogue": data.catalogue()}
    validation = leave_one_out(data.log, **of, ask="validation")
    asked = leave_one_out(data.log, **of, ask=ask, held_out=held_out)
    as_of = None if arguments.target_time else data.as_of
    learned = data.without_last(held_out)
    return [
        *(baseline(family, validation=validation, asked=asked) for family in FAMILIES),
        *(
            trained_as(
                name,
                replace(config, seed=seed),
                learned,
                lambda model, of: model_score(model, of, as_of=as_of),
                models=arguments.models,
            )
            for name, config in configs.items()
            for seed in arguments.seeds
        ),
    ]


def _held_out(arguments: argparse.Namespace) -> int:
    return 1 if arguments.learn_validation else 2


def compared(
    data: MemoryData,
    systems: Sequence[System],
    arguments: argparse.Namespace,
) -> Iterator[str]:
    """Return the lines to print; writes the log where the test questions are asked."""
    asked = leave_one_out(
        data.log,
        schema=data.schema(),
        catalogue=data.catalogue(),
        ask=arguments.ask,
        held_out=_held_out(arguments),
        groups=user_groups(arguments.data, arguments.variant),
    )
    visible = "visible" if arguments.target_time else "not visible"
    learned = "all but the last" if arguments.learn_validation else "all but the last two"
    yield f"# MovieLens-1M, {arguments.variant}: the {arguments.ask} event of each user"
    for rule, found in answers(asked, systems).items():
        yield f"\n## Seen items {rule}\n"
        yield f"{len(asked.candidates):,} items, all of them candidates; equal scores in the"
        yield "expectation over their orders; intervals: 95 %, over users; ±: over seeds;"
        yield f"learned from {learned} events of a user;"
        yield f"the target's time: {visible}; trained and chosen on {processor()}."
        yield from report(asked, found)
        if arguments.ask == "test":
            about = {
                "protocol": "leave_one_out",
                "data": f"movielens-1m {arguments.variant}",
                "seen_items": rule,
                "target_time": visible,
                "learned": learned,
            }
            yield "\nUses:\n"
            yield from log_uses(arguments.log, found, about)
    yield "\n## Configurations\n"
    yield from configurations(systems)


def main(given: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--variant", choices=["sas", "full"], required=True)
    parser.add_argument("--recipes", type=names, default=[])
    parser.add_argument("--change", action="append", default=[], help="of every recipe")
    parser.add_argument("--seeds", type=seeds, default=[1])
    parser.add_argument("--ask", choices=["validation", "test"], default="validation")
    parser.add_argument(
        "--learn-validation", action="store_true", help="as well, before the test events are asked"
    )
    parser.add_argument("--models", type=Path, help="folder that keeps trained models")
    parser.add_argument("--log", type=Path, help="JSON lines; needed to ask the test events")
    parser.add_argument("--target-time", action="store_true", help="models may know it")
    arguments = parser.parse_args(given)
    if arguments.ask == "test" and arguments.log is None:
        parser.error("--ask test wants --log: every use of the test events is written down")
    if arguments.learn_validation and arguments.ask != "test":
        parser.error("--learn-validation: only who is asked for the test events may learn from it")
    if arguments.target_time and arguments.variant == "sas":
        parser.error("--target-time: of the sas file only the order is known")
    with refusing(parser):
        configs = configs_of(arguments.recipes, arguments.change)
        data = read_movielens(arguments.data, arguments.variant)
        systems = systems_of(data, configs, arguments)
        for line in compared(data, systems, arguments):
            print(line, flush=True)


if __name__ == "__main__":
    main()
