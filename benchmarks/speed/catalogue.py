"""What a step costs as the catalogue grows: the full softmax, a sample, a narrower head.

    python -m benchmarks.speed.catalogue [--items 10000,100000,1000000] [--seconds 20]

The ``sasrec`` recipe on a made-up log of 4,000 users with 50 events each, whose items follow a
power law; a step has 1,024 positions. Every contender is a fresh process; memory is its largest
resident set, imports and data included. Time is the process's own, of one thread.
"""

import argparse
import json
import sys
from dataclasses import replace

import numpy as np

from benchmarks.quality.movielens import AS_OF, MemoryData
from benchmarks.speed.__main__ import measure, processor
from benchmarks.speed.contender import timed
from training.config.loss import LossConfig
from training.config.run import RunConfig
from training.contracts import UNKNOWN_INSTANT, Histories
from training.features.catalogue import ITEM_CATEGORIES, Catalogue
from training.recipes import sasrec

NUM_USERS, LENGTH, POSITIONS = 4_000, 50, 1_024

CONTENDERS = ("full", "sampled", "sampled, head of d/4")


def log_of(num_items: int) -> MemoryData:
    """Return a log whose catalogue has so many items, few of them in it often."""
    draw = np.random.default_rng(0)
    num_tokens = NUM_USERS * LENGTH
    items = tuple(f"{n:07d}" for n in range(num_items))
    nowhen = np.full(num_tokens, UNKNOWN_INSTANT)
    log = Histories(
        user_ids=tuple(f"{n}" for n in range(NUM_USERS)),
        offsets=np.arange(NUM_USERS + 1) * LENGTH,
        items=items,
        # log-uniform: the share of the item at rank r falls as 1 / r
        item_code=(num_items ** draw.random(num_tokens) - 1).astype(np.int32),
        first_at=nowhen,
        last_at=nowhen,
        duration_ms=np.zeros(num_tokens, dtype=np.int64),
        num_events=np.ones(num_tokens, dtype=np.int32),
        action_counts=np.ones((num_tokens, 1), dtype=np.int32),
        request_categories={},
        request_numbers={},
    )
    films = Catalogue(
        item_ids=items,
        categories={name: [None] * num_items for name in ITEM_CATEGORIES},
        genres=[()] * num_items,
        age_days=np.full(num_items, np.nan),
        runtime_s=np.full(num_items, np.nan),
        valid_from=np.zeros(num_items, dtype=np.int64),
        valid_to=np.full(num_items, np.iinfo(np.int64).max),
    )
    return MemoryData(log=log, films=films, as_of=AS_OF)


def config_of(contender: str) -> RunConfig:
    """Return what a contender trains."""
    config = replace(sasrec(), batch_tokens=POSITIONS, windows="newest")
    if contender == "full":
        return config
    config = replace(config, loss=LossConfig(kind="sampled", num_negatives=512))
    if contender == "sampled":
        return config
    narrow = replace(config.model, tied_output=False, score_dim=config.model.model_dim // 4)
    return replace(config, model=narrow)


def main() -> None:
    """Measure every contender and print a table; or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", default="10000,100000,1000000")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--contender", choices=CONTENDERS)
    given = parser.parse_args()
    sizes = [int(size) for size in given.items.split(",")]
    if given.contender:
        data, config = log_of(sizes[0]), config_of(given.contender)
        figures = timed(data, config, seconds=given.seconds, events_a_step=POSITIONS)
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    sys.stdout.write(f"{processor()}, one thread, {POSITIONS:,} positions a step\n\n")
    sys.stdout.write("| items | loss | ms a step | peak MiB |\n|---|---|---|---|\n")
    for size in sizes:
        for contender in CONTENDERS:
            command = [sys.executable, "-m", "benchmarks.speed.catalogue", "--items", str(size)]
            command += ["--seconds", str(given.seconds), "--contender", contender]
            found = measure(command)
            step_ms = 1e3 * found["cpu_s"] / found["steps"]
            sys.stdout.write(
                f"| {size:,} | {contender} | {step_ms:,.0f} | {found['peak_mib']:,.0f} |\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
