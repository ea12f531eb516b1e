"""A training run that is timed for a while, for processes that print one line of figures."""

import contextlib
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.config.run import RunConfig
from training.data import TrainingData
from training.pretrain import pretrain
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
        self.figures = {
            "steps": step - start,
            "events": (step - start) * self.events_a_step,
            "wall_s": now - began,
            "cpu_s": cpu - cpu_began,
            "loss": metrics["loss"],
        }
        if now - began >= self.seconds:
            raise EnoughError


def timed(
    data: TrainingData, config: RunConfig, *, seconds: float, events_a_step: float
) -> dict[str, float]:
    """Return the figures of a run that ends after some seconds, or with its last step."""
    clock = Clock(seconds, events_a_step)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(EnoughError):
        pretrain(data, config, Path(folder), clock)
    return clock.figures
