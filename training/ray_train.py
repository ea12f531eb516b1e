"""Pretraining on workers that Ray Train starts, on this machine or on a cluster.

::

    TorchTrainer ─ starts N workers, makes their group (gloo) ─ each takes part as under torchrun
         '─ a worker dies: all end, and the same call goes on from the newest checkpoint

Nothing of the training is Ray's: what a worker does is ``take_part``, as a process of torchrun
does. Ray carries the call to its workers in its own way. Workers open the paths that they are
given: on a cluster they need data, checkpoints and the folder to make at the same place, and the
project in their environment.
"""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.errors import ConfigError, EngineError, TrainingError
from training.processes import joined
from training.ray_buckets import start
from training.run import Run, take_part
from training.tracker import LoggingTracker, SilentTracker, Tracker


def pretrain_on_ray(
    run: Run, *, num_workers: int, address: str | None = None, callbacks: Sequence[Any] = ()
) -> Path:
    """Make the model ``run.out`` on Ray's workers; return its folder.

    Raises ConfigError without workers, what a worker raised, and EngineError where Ray is absent or
    its workers are lost.

    Args:
        run: its paths are absolute; every worker has as many processors as it has threads.
        num_workers: processes that take every step together.
        address: of a cluster, as in ``on_ray``; without one the workers are on this machine and
            listen on the loopback address.
        callbacks: ``ray.train.UserCallback`` each, told of every point of the curves.
    """
    if num_workers < 1:
        raise ConfigError(f"ray train: want at least one worker: {num_workers=}")
    try:
        import ray
        from ray import train
        from ray.train.torch import TorchConfig, TorchTrainer
    except ImportError as error:
        raise EngineError(f"ray train: {error}: install the extra marquee[ray]") from error
    if not ray.is_initialized():
        start(ray, address, num_workers * run.config.num_threads)
    run.out.parent.mkdir(parents=True, exist_ok=True)
    # what Ray keeps of a run; all workers see the folder in which the model is made
    with tempfile.TemporaryDirectory(prefix=".ray-", dir=run.out.parent) as storage:
        trainer = TorchTrainer(
            _take_part_of_ray,
            train_loop_config={"run": run},
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=train.ScalingConfig(
                num_workers=num_workers,
                resources_per_worker={"CPU": run.config.num_threads},
            ),
            run_config=train.RunConfig(storage_path=storage, callbacks=list(callbacks)),
        )
        try:
            trainer.fit()
        except train.TrainingFailedError as error:
            raise _cause_of(error) from error
    return run.out


class RayTracker:
    """A tracker whose curves Ray Train gets; the first worker logs the rest."""

    def __init__(self, *, is_first: bool) -> None:
        """Every worker has to report: Ray Train waits for all of them."""
        self._log: Tracker = LoggingTracker() if is_first else SilentTracker()
        self.log_parameters = self._log.log_parameters
        self.log_line, self.log_progress = self._log.log_line, self._log.log_progress

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Report one point of one or several curves."""
        from ray import train

        train.report({**metrics, "step": step})


def _take_part_of_ray(given: dict[str, Run]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    run = given["run"]
    with joined(is_sharded=run.is_sharded) as processes:
        take_part(run, RayTracker(is_first=processes.is_first), processes)


def _cause_of(error: BaseException) -> TrainingError:
    """Return what a worker raised where it is ours, what to do about Ray otherwise."""
    failures: Mapping[int, BaseException] = getattr(error, "worker_failures", {})
    for _, failure in sorted(failures.items()):
        cause = getattr(failure, "cause", failure)
        if isinstance(cause, TrainingError):
            return cause
    return EngineError(f"ray train: {error}: look at the workers, and run again")
