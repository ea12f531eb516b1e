r"""What one change does to a recipe, on days before the last ones.

    python -m benchmarks.quality.ablations --recipe demo --seeds 1,2,3 --actions thumb_up:2
    python -m benchmarks.quality.ablations --recipe demo --change model.input_facets=false \
        --change 'model.block="hstu" model.relative_bias=["position","time"]'
    python -m benchmarks.quality.ablations --recipe demo --facets all
    python -m benchmarks.quality.ablations --workspace <folder> --recipe kuairand

Each ``--change`` is one row: values of the config in JSON by their path, several with a space
between. With ``--facets`` each facet is one: the recipe trained and asked on data in which it is
always missing. Without either, each head and each weight of targets is one, then all heads
together, beside the item and hierarchical. By default of the simulated world. Everything is
learned from before the days that are asked, which are those before the last ``--days``. Prints
Markdown; every difference is paired: the same users for both.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

from benchmarks.quality.arguments import at_least_one, names, refusing, seeds
from benchmarks.quality.blanks import Without, known_facets, of_questions
from benchmarks.quality.changes import changed
from benchmarks.quality.logs import DatedLog, source_log, workspace_log
from benchmarks.quality.report import answers, configurations, gains, processor
from benchmarks.quality.systems import System, trained_as
from benchmarks.quality.temporal import questions
from training.config.model import HeadsConfig
from training.config.run import RunConfig
from training.config.targets import UtilityConfig
from training.data import TrainingData
from training.errors import ConfigError
from training.evaluation.models import model_score
from training.events.simulated import SimulatedWorld
from training.events.world import WorldParameters
from training.features.heads import heads_of
from training.features.spec import build_spec
from training.recipes import load_recipe

LOG_MINUTES = 0.5
"""A token of an hour counts three times as much as one of a moment."""

Actions = tuple[tuple[str, float], ...]


def variants(
    config: RunConfig, heads: Sequence[str], actions: Actions = ()
) -> dict[str, RunConfig]:
    """Return the configs to compare by name; what changes nothing, the recipe, is the first."""
    by_minutes = UtilityConfig(log_minutes=LOG_MINUTES)
    by_actions = {"utility: actions": _worth(config, UtilityConfig(actions=actions))}
    return {
        "recipe": config,
        "utility: minutes": _worth(config, by_minutes),
        **(by_actions if actions else {}),
        **{f"head: {name}": _with_heads(config, HeadsConfig(names=(name,))) for name in heads},
        "all heads": _with_heads(config, HeadsConfig(names=tuple(heads))),
        "all heads, hierarchical": _with_heads(
            config, HeadsConfig(names=tuple(heads), hierarchical=True)
        ),
    }


def _with_heads(config: RunConfig, heads: HeadsConfig) -> RunConfig:
    return replace(config, model=replace(config.model, heads=heads))


def _worth(config: RunConfig, utility: UtilityConfig) -> RunConfig:
    return replace(config, targets=replace(config.targets, utility=utility))


def known_heads(log: DatedLog, first: date) -> tuple[str, ...]:
    """Return the heads that what was known before a day can answer, sorted."""
    data = log.before(first)
    spec = build_spec(data.schema(), data.histories(), data.catalogue())
    return tuple(sorted(heads_of(spec)))


def blinded(
    config: RunConfig, learned: TrainingData, facet: str, *, models: Path | None = None
) -> System:
    """Return a config's model that was trained, and is asked, without a facet."""
    return trained_as(
        f"without {facet}",
        config,
        Without(data=learned, facet=facet),
        lambda model, asked: model_score(model, of_questions(asked, facet)),
        models=models,
    )


def systems_of(
    learned: TrainingData,
    configs: dict[str, RunConfig],
    seeds: Sequence[int],
    *,
    facets: Sequence[str] = (),
    models: Path | None = None,
) -> list[System]:
    """Return each config's models; ``facets`` are left out of the first one's data in turn."""
    recipe = next(iter(configs.values()))
    return [
        *(
            trained_as(name, replace(config, seed=seed), learned, model_score, models=models)
            for name, config in configs.items()
            for seed in seeds
        ),
        *(
            blinded(replace(recipe, seed=seed), learned, facet, models=models)
            for facet in facets
            for seed in seeds
        ),
    ]


def compared(
    log: DatedLog, first: date, days: int, systems: Sequence[System], over: str
) -> Iterator[str]:
    """Return the lines to print: every system, and what it gains over one of them."""
    asked = questions(log, first, days)
    yield f"# {log.name}: {days} days from {first}"
    for rule, found in answers(asked, systems).items():
        yield f"\n## Seen items {rule}\n"
        yield f"{len(asked.candidates):,} items that are valid in these days, all of them"
        yield "candidates; intervals: 95 %, over users; ±: over seeds; a difference of several"
        yield f"seeds is of their means; trained on {processor()}."
        yield from gains(asked, found, over=over)
    yield "\n## Configurations\n"
    yield from configurations(systems)


def _actions(text: str) -> Actions:
    pairs = (one.rsplit(":", 1) for one in text.split(","))
    return tuple((name, float(factor)) for name, factor in pairs)


def main(given: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, help="instead of the simulated world")
    parser.add_argument("--users", type=int, default=WorldParameters().num_users)
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--seeds", type=seeds, default=[1])
    parser.add_argument("--days", type=at_least_one, default=3)
    parser.add_argument("--change", action="append", help="instead of heads and weights of targets")
    parser.add_argument("--facets", type=names, default=[], help="to leave out, or: all")
    parser.add_argument("--models", type=Path, help="folder that keeps trained models")
    parser.add_argument("--heads", type=names, default=["all"], help="all by default")
    parser.add_argument("--actions", type=_actions, default=(), help="such as thumb_up:2")
    arguments = parser.parse_args(given)
    with refusing(parser):
        for line in _asked(arguments):
            print(line, flush=True)


def _asked(arguments: argparse.Namespace) -> Iterator[str]:
    days: int = arguments.days
    recipe = load_recipe(arguments.recipe)
    configs = changed(recipe, arguments.change or [])
    if arguments.workspace:
        log = workspace_log(arguments.workspace)
    else:
        world = SimulatedWorld(WorldParameters(num_users=arguments.users))
        log = source_log(world.name, world)
    first = log.last_day + timedelta(days=1 - 2 * days)
    facets = _known(arguments.facets, known_facets(log.before(first)), "--facets")
    if not arguments.change and not facets:
        heads = _known(arguments.heads, known_heads(log, first), "--heads")
        configs = variants(recipe, heads, arguments.actions)
    systems = systems_of(
        log.before(first), configs, arguments.seeds, facets=facets, models=arguments.models
    )
    yield from compared(log, first, days, systems, next(iter(configs)))


def _known(chosen: Sequence[str], known: Sequence[str], option: str) -> Sequence[str]:
    if unknown := [name for name in chosen if name != "all" and name not in known]:
        raise ConfigError(f"{option}: want some of {', '.join(known)}, or all, got {unknown[0]!r}")
    return known if "all" in chosen else chosen


if __name__ == "__main__":
    main()
