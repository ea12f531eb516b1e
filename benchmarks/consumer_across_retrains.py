"""What a consumer loses that was trained on day d and reads vectors of later days.

    python -m benchmarks.consumer_across_retrains

The model is trained from scratch again at the end of day d, so every later day lies across one
monthly retrain. Each consumer is trained on vectors of d and asked on those of a later day about
the days after it; beside it, the same consumer trained on that later day and asked the same: the
ceiling. Both read raw vectors, each day in its own coordinates, and stabilised ones. Half of the
users teach, the others are asked. Intervals are 95 % over these, of all seeds; draws are paired.
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from assets.ranking_metrics import draw_users
from benchmarks.frozen_consumers import (
    Fit,
    Float64,
    Inputs,
    Rows,
    Scorer,
    Vectors,
    choices_to_come,
    genres_to_come,
    inputs_of,
    is_teaching,
    mean_auc,
    ranker,
    ridge,
)
from benchmarks.retrained_world import Calendar, RetrainedWorld
from embedding_store.contracts import EmbeddingShard, Side
from embedding_store.parts import dim_of, shards
from training.events.world import WorldParameters
from training.recipes import load_recipe

READINGS = {"d": (0, 1, 7, 30), "d + 1": (0, 1, 7, 29)}
"""By the day that a consumer is trained on, how many days later it reads: from ``d`` across the
retrain, from ``d + 1`` across daily fine-tuning alone."""
SEEDS = (1, 2, 3)
NUM_DRAWS = 400
KINDS = ("raw", "stabilised")
CONSUMERS = ("genres, ridge", "genres, each coordinate scaled", "choices, ranker")
"""The one in the middle is an example of what not to do."""

Draws = dict[tuple[str, str, int, str, str], list[Float64]]
"""By consumer, day it is trained on, days since, kind of vectors, and ``frozen`` or ``retrained``:
one array a seed."""


def whole(folder: Path, side: Side) -> EmbeddingShard:
    """Return one side of a folder of vectors."""
    dim = dim_of(folder / "part-0.parquet")
    tables = [shard.table for shard in shards(folder, side, dim)]
    return EmbeddingShard(pa.concat_tables(tables), side, dim)


@dataclass(frozen=True)
class Readings:
    """What consumers of one world read and are asked."""

    world: RetrainedWorld

    def __post_init__(self) -> None:
        """Make the world's days."""
        self.world.ingest()
        self.world.train()
        self.world.versions()

    def vectors(self, number: int, kind: str) -> Vectors:
        """Return a day's vectors, as the model left them or as they would be published."""
        folder = self.world.at(number, "stabilised")
        if kind == "stabilised":
            return Vectors(whole(folder / "user", "user"), whole(folder / "item", "item"))
        users, items = self.world.at(number, "users"), self.world.at(number, "items")
        return Vectors(whole(users, "user"), whole(items, "item"))

    def rows(self, consumer: str, number: int) -> Rows:
        """Return what a consumer that reads a day's vectors is asked about the days after it."""
        to_come = range(number + 1, number + 1 + self.world.calendar.num_label_days)
        if consumer != CONSUMERS[-1]:
            days = [self.world.at(one, "valid") for one in to_come]
            return genres_to_come(days, self.world.at(to_come[-1], "catalogue"))
        events = {
            self.world.day(one).isoformat(): self.world.at(one, "valid")
            for one in range(to_come[-1] + 1)
        }
        return choices_to_come(events, [self.world.day(one).isoformat() for one in to_come])

    def measure(self, draws: Draws) -> None:
        """Add this world's draws of every figure."""
        for consumer in CONSUMERS:
            for number, trained_on in enumerate(READINGS):
                self._measure(draws, consumer, trained_on, self.world.calendar.day_d + number)

    def _measure(self, draws: Draws, consumer: str, trained_on: str, first: int) -> None:
        then = self.rows(consumer, first)
        fit = ranker(then.is_place) if consumer == CONSUMERS[-1] else ridge
        read = partial(inputs_of, is_each_scaled=consumer == CONSUMERS[1])
        frozen = {kind: _fit(fit, then, read(then, self.vectors(first, kind))) for kind in KINDS}
        for after in READINGS[trained_on]:
            now = self.rows(consumer, first + after)
            for kind in KINDS:
                inputs = read(now, self.vectors(first + after, kind))
                for name, scorer in (
                    ("frozen", frozen[kind]),
                    ("retrained", _fit(fit, now, inputs)),
                ):
                    key = (consumer, trained_on, after, kind, name)
                    draws[key].append(_ask(scorer, now, inputs))


def _fit(fit: Fit, rows: Rows, inputs: Inputs) -> Scorer:
    taught = inputs.is_known & is_teaching(rows.user_ids)
    return fit(inputs, taught, rows.labels[taught])


def _ask(scorer: Scorer, rows: Rows, inputs: Inputs) -> Float64:
    asked = inputs.is_known & ~is_teaching(rows.user_ids)
    users, codes = np.unique(np.array(rows.user_ids)[asked], return_inverse=True)
    weights = draw_users(len(users), num_draws=NUM_DRAWS, seed=0)[:, codes]
    return mean_auc(rows.labels[asked], scorer(inputs.values[asked]), weights)


def table(draws: Draws) -> str:
    """Return the figures as Markdown, means over the seeds."""
    lines = [
        "| consumer | trained on | reads | trained anew | stabilised | it loses | raw | it loses |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for consumer, trained_on, after in dict.fromkeys(key[:3] for key in draws):
        mean = {
            key[3:]: np.mean(of_seeds, axis=0)
            for key, of_seeds in draws.items()
            if key[:3] == (consumer, trained_on, after)
        }
        ceiling = mean["stabilised", "retrained"]
        cells = [consumer, trained_on, f"{after} days later", _figure(ceiling, ".3f")]
        for kind in ("stabilised", "raw"):
            frozen = mean[kind, "frozen"]
            cells += [_figure(frozen, ".3f"), _figure(1 - frozen / ceiling, "+.1%")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _figure(values: Float64, form: str) -> str:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return f"{values[0]:{form}} [{low:{form}}, {high:{form}}]"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--titles", type=int, default=600)
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--folder", type=Path, help="keep the worlds there, and what stands")
    given = parser.parse_args(arguments)
    calendar = Calendar()
    draws: Draws = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        for seed in given.seeds:
            world = RetrainedWorld(
                (given.folder or Path(scratch)) / f"seed-{seed}",
                WorldParameters(
                    num_users=given.users,
                    num_titles=given.titles,
                    num_days=calendar.num_days,
                    seed=seed,
                ),
                replace(load_recipe(given.recipe), seed=seed),
                calendar,
            )
            Readings(world).measure(draws)
    print(table(draws))


if __name__ == "__main__":
    main()
