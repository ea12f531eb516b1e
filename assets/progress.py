"""One line on the terminal per finished asset, for people who watch a run."""

import logging
import sys
import time

import dagster as dg

from assets.reporting import is_skipped

_NOT_NEWS = (
    "Dependencies for step",  # the orchestrator's echo of a failure that is reported already
    "[pipes] external process successfully opened",  # a training that starts says so itself
)


class ProgressHandler(logging.Handler):
    """Prints ``partition asset rows seconds`` when an asset is made, and failed checks.

    Assets that were there already are not told one by one.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._started: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Print what a person wants to know of one log record of the run."""
        meta = getattr(record, "dagster_meta", None) or {}
        event = meta.get("dagster_event")
        if event is None:
            self._print_line(record.levelno, str(meta.get("orig_message") or ""))
        elif event.event_type_value == "STEP_START":
            self._started[event.step_key] = time.monotonic()
        elif event.event_type_value == "ASSET_MATERIALIZATION":
            self._tell_made(event)
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            self._tell_failed_check(event)

    def _print_line(self, level: int, message: str) -> None:
        if message.startswith(_NOT_NEWS):
            return
        if level >= logging.WARNING:
            self._print(f"  warning: {message}")
        elif level >= logging.INFO and message:
            self._print(f"    {message}")

    def _tell_made(self, event: dg.DagsterEvent) -> None:
        made = event.step_materialization_data.materialization
        name = made.asset_key.to_user_string()
        if is_skipped(made.metadata) or event.step_key != name:
            return  # a step that makes many assets says itself how far it is
        rows = made.metadata.get("dagster/row_count")
        seconds = time.monotonic() - self._started.get(event.step_key or "", time.monotonic())
        count = f"{rows.value:>12,} rows" if rows else " " * 17
        self._print(f"  {made.partition or '':<10}  {name:<22}{count}   {seconds:.1f} s")

    def _tell_failed_check(self, event: dg.DagsterEvent) -> None:
        evaluation = event.asset_check_evaluation_data
        if not evaluation.passed:
            self._print(
                f"  check failed: {evaluation.asset_key.to_user_string()}: {evaluation.check_name}"
            )

    def _print(self, line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


@dg.logger
def progress_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """One line per finished asset."""
    del context
    logger = logging.Logger("progress", logging.DEBUG)  # noqa: LOG001 - must not be shared by runs
    logger.addHandler(ProgressHandler())
    return logger
