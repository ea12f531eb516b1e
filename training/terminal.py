"""A run as a person at a terminal watches it: a bar that moves, above it the lines."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from training.tracker import Progress


class TerminalTracker:
    """A tracker that shows a bar; curves have a tracker of their own."""

    def __init__(self, bar: Bar) -> None:
        """Show what is reported on ``bar``, which is running."""
        self._bar = bar
        self._task = bar.add_task("training", total=None, loss="")

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Show nothing: the recipe has them."""

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Show the answers of the users that are asked; the loss is on the bar."""
        if "validation" in metrics:
            self.log_line(f"step {step}  validation {metrics['validation']:.4f}")

    def log_line(self, line: str) -> None:
        """Show the line above the bar."""
        self._bar.console.print(line, markup=False, highlight=False)

    def log_progress(self, progress: Progress) -> None:
        """Move the bar."""
        self._bar.update(
            self._task,
            completed=progress.done,
            total=progress.total,
            loss=f"loss {progress.loss:.3f}",
        )


@contextmanager
def terminal_tracker(console: Console) -> Iterator[TerminalTracker]:
    """Yield a tracker whose bar ends with the run."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console) as bar:
        yield TerminalTracker(bar)
