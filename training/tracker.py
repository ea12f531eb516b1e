"""How training reports, without knowing to whom."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

logger = logging.getLogger(__name__)

_LINE_EVERY = 100
"""Steps between two lines of progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is."""

    done: int
    """Steps."""
    total: int
    loss: float
    left_s: float

    @property
    def is_due(self) -> bool:
        """Whether a log has a line of it: now and then, and at the end."""
        return self.done % _LINE_EVERY == 1 or self.done == self.total

    def __str__(self) -> str:
        """Return the line."""
        steps = f"step {self.done}/{self.total}"
        return f"{steps}  loss {self.loss:.3f}  {self.left_s:.0f} s left"


class Tracker(Protocol):
    """A sink of parameters, curves and log lines of one run."""

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Record what the run is; nested mappings are flattened with dots by the sink."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Record one point of one or several curves."""
        ...

    def log_line(self, line: str) -> None:
        """Show one line to whoever watches the run."""
        ...

    def log_progress(self, progress: Progress) -> None:
        """Show how far the run is, as often as whoever watches wants to know."""
        ...


class SilentTracker:
    """A tracker of a process whose reports another one makes."""

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Do nothing."""

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Do nothing."""

    def log_line(self, line: str) -> None:
        """Do nothing."""

    def log_progress(self, progress: Progress) -> None:
        """Do nothing."""


class LoggingTracker:
    """A tracker that only logs: what a run without an experiment tracker uses."""

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Log the parameters on one line."""
        logger.info("parameters %s", dict(parameters))

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Log the metrics on one line."""
        logger.info("step %d %s", step, dict(metrics))

    def log_line(self, line: str) -> None:
        """Log the line."""
        logger.info("%s", line)

    def log_progress(self, progress: Progress) -> None:
        """Log a line now and then."""
        if progress.is_due:
            logger.info("%s", progress)
