"""How training reports, without knowing to whom."""

import logging
from collections.abc import Mapping
from typing import Any, Protocol

logger = logging.getLogger(__name__)


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
