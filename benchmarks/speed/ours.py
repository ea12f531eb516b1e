"""One process that trains the ``sasrec`` recipe on MovieLens-1M for a while and says how fast.

python -m benchmarks.speed.ours --data <folder of ml-1m> --threads 2 --seconds 60
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.quality.movielens import read_movielens
from training.pretrain import pretrain
from training.recipes import sasrec
from training.tracker import Progress

WARM_UP_STEPS = 5
"""Steps that are not timed: allocators and caches are cold in them."""


class EnoughError(Exception):
    """The time is over."""


class Clock:
    """A tracker that ends the run when its time is over; legend as ``peers.Clock``."""

    def __init__(self, seconds: float, events_a_step: float) -> None:
        """Time ``seconds``; ``events_a_step`` is the mean number of targets of a step."""
        self.seconds, self.events_a_step = seconds, events_a_step
        self.first: tuple[int, float, float] | None = None
        self.figures: dict[str, float] = {}

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Nothing: the recipe says it."""

    def log_line(self, line: str) -> None:
        """Nothing."""

    def log_progress(self, progress: Progress) -> None:
        """Nothing."""

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Look at the clock; the loop reports every ten steps."""
        now, cpu = time.monotonic(), time.process_time()
        if self.first is None:
            if step >= WARM_UP_STEPS:
                self.first = (step, now, cpu)
            return
        start, began, cpu_began = self.first
        events = (step - start) * self.events_a_step
        self.figures = {
            "events": events,
            "wall_s": now - began,
            "cpu_s": cpu - cpu_began,
            "loss": metrics["loss"],
        }
        if now - began >= self.seconds:
            raise EnoughError


def main() -> None:
    """Train and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    data = read_movielens(given.data, "sas").without_last(2)
    config = replace(sasrec(), num_threads=given.threads)
    lengths = data.log.offsets[1:] - data.log.offsets[:-1]
    num_positions = lengths.clip(max=config.model.max_seq_len).sum()
    steps_an_epoch = -(-num_positions // config.batch_tokens)
    clock = Clock(given.seconds, num_positions / steps_an_epoch)
    with tempfile.TemporaryDirectory() as folder:
        try:
            pretrain(data, config, Path(folder), clock)
        except EnoughError:
            sys.stdout.write(json.dumps(clock.figures) + "\n")


if __name__ == "__main__":
    main()
