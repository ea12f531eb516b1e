"""The process that trains: joins Dagster Pipes, MLflow and ``training``.

Started by Dagster (``assets.training_launch``) or by hand::

    python -m assets.training_process --job job.json

Either way the first line is the link to the run, every line also lands in the job's log file, and
the process ends with 0, or with another code and one line that says why. By hand the result is
printed as JSON.
"""

import argparse
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import NoReturn

from dagster_pipes import PipesContext, PipesEnvVarParamsLoader, open_dagster_pipes

from assets.errors import JobError, PlatformError
from assets.tracking import mlflow_run
from assets.training_job import TrainingJob, TrainingResult
from assets.training_tasks import find_task
from lake.errors import LakeError
from training.errors import TrainingError

logger = logging.getLogger("assets.training_process")  # __name__ is __main__ here

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130  # what a shell reports for SIGINT

_ORPHAN_POLL_S = 1.0
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job and return the exit code."""
    if _is_started_by_dagster():
        _die_with_parent()
        with open_dagster_pipes() as pipes:
            return _run(pipes.get_extra("job"), pipes)
    parser = argparse.ArgumentParser(prog="python -m assets.training_process")
    parser.add_argument("--job", type=Path, required=True, help="the job, JSON")
    path: Path = parser.parse_args(arguments).job
    try:
        described = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot read the job {path}: {error}\n")
        return EXIT_FAILED
    return _run(described, None)


def _is_started_by_dagster() -> bool:
    loader = PipesEnvVarParamsLoader()  # type: ignore[no-untyped-call]
    return loader.is_dagster_pipes_process()


def thread_environment(threads: int) -> dict[str, str]:
    """Return the variables that hold numeric libraries to ``threads``; read when they load."""
    # passive: waiting threads must not spin on cores that others could use
    return {**dict.fromkeys(_THREAD_VARIABLES, str(threads)), "OMP_WAIT_POLICY": "PASSIVE"}


def _run(described: dict[str, object], pipes: PipesContext | None) -> int:
    try:
        job = TrainingJob.from_json(described)
    except JobError as error:
        (pipes.log.error if pipes else sys.stderr.write)(f"{error}\n")
        return EXIT_FAILED
    with _lines_of(job, pipes):
        try:
            result = run_job(job)
        except (TrainingError, LakeError, PlatformError, OSError, MemoryError) as error:
            logger.error("%s failed: %s", job.run_name, _one_line(error))  # noqa: TRY400
            return EXIT_FAILED
        except KeyboardInterrupt:
            logger.error("%s was interrupted; run it again", job.run_name)  # noqa: TRY400
            return EXIT_INTERRUPTED
    if pipes:
        pipes.report_custom_message(result.to_json())
    else:
        sys.stdout.write(json.dumps(result.to_json(), indent=1, sort_keys=True) + "\n")
    return 0


def run_job(job: TrainingJob) -> TrainingResult:
    """Train as the job says, tracked in MLflow, and return what was made."""
    started = time.monotonic()
    os.environ.update(thread_environment(job.threads))
    task = find_task(job.task)
    parameters = asdict(job)
    for name in ("inputs", "data", "output", "log_path", "mlflow_folder", "mlflow_base_url"):
        del parameters[name]  # where it runs, not what it is
    with mlflow_run(
        Path(job.mlflow_folder),
        job.experiment,
        job.run_name,
        parameters={"job": parameters},
        inputs=job.inputs,
        base_url=job.mlflow_base_url,
    ) as (tracker, run_id):
        logger.info("curves: %s", tracker.url)
        written = task(job, tracker)
        digest = tracker.log_output(Path(job.output), written)
    wall_s = time.monotonic() - started
    logger.info("%s took %.1f s", job.run_name, wall_s)
    return TrainingResult(
        rows=written.rows,
        digest=digest,
        run_id=run_id,
        run_url=tracker.url,
        wall_s=round(wall_s, 2),
        peak_rss_mb=_peak_rss_mb(),
        figures={**written.figures, "curves": tracker.curves()},
    )


class _PipesHandler(logging.Handler):
    """Sends log lines to Dagster, with their level."""

    def __init__(self, pipes: PipesContext) -> None:
        super().__init__(logging.INFO)
        self._pipes = pipes

    def emit(self, record: logging.LogRecord) -> None:
        self._pipes.log.log(record.levelno, self.format(record))


@contextmanager
def _lines_of(job: TrainingJob, pipes: PipesContext | None) -> Iterator[None]:
    """Send log lines to whoever watches and to the job's log file, for as long as it runs."""
    log_path = Path(job.log_path)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    to_file = logging.FileHandler(log_path, mode="w")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handlers = [to_file, _PipesHandler(pipes) if pipes else logging.StreamHandler()]
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    for name in ("assets", "lake", "training"):
        logging.getLogger(name).setLevel(logging.INFO)
    for handler in handlers:
        root.addHandler(handler)
    try:
        yield
    except BaseException:  # logged and raised again: an interrupt belongs in the log as well
        logger.exception("%s failed unexpectedly", job.run_name)
        raise
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no message"
    return (
        text
        if isinstance(error, TrainingError | LakeError | PlatformError)
        else (f"{type(error).__name__}: {text}")
    )


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _die_with_parent() -> None:
    """Leave when the orchestrator's process is gone: nobody would read the result."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_ORPHAN_POLL_S)
        os._exit(EXIT_FAILED)

    threading.Thread(target=watch, daemon=True, name="orphan-watch").start()


def _peak_rss_mb() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak >> 20 if sys.platform == "darwin" else peak >> 10  # bytes there, KiB here


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main())
