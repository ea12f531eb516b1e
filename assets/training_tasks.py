"""The tasks of a training process: the seam between a job's JSON and ``training``."""

import importlib
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from assets.errors import JobError
from assets.training_job import TrainingJob
from lake.lake import Written
from training.tracker import Tracker

Task = Callable[[TrainingJob, Tracker], Written]
"""Fills the job's output folder and returns what it wrote."""


def find_task(name: str) -> Task:
    """Return a task by its name, or a task of one's own by ``package.module:function``.

    Raises JobError where there is none.
    """
    if name in _TASKS:
        return _TASKS[name]
    module_name, _, function_name = name.partition(":")
    if not function_name:
        raise JobError(
            f"training job: want task {', '.join(_TASKS)} or package.module:function, got {name!r}"
        )
    try:
        task: Task = getattr(importlib.import_module(module_name), function_name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise JobError(f"training job: no task {name!r}: {error}") from error
    return task


def pretrain(job: TrainingJob, tracker: Tracker) -> Written:
    """Train from scratch on everything before the job's ``as_of``."""
    from training.pretrain import pretrain as train
    from training.recipes import load_recipe

    return train(
        _data(job),
        load_recipe(job.recipe),
        Path(job.output),
        tracker,
        checkpoints_in=_path(job.checkpoints),
    )


def fine_tune(job: TrainingJob, tracker: Tracker) -> Written:
    """Continue the base model on the job's day."""
    from training.fine_tune import fine_tune as train
    from training.recipes import load_recipe

    assert job.base is not None
    assert job.day is not None
    return train(
        Path(job.base),
        _data(job),
        load_recipe(job.recipe),
        Path(job.output),
        tracker,
        day=date.fromisoformat(job.day),
        checkpoints_in=_path(job.checkpoints),
    )


_TASKS: dict[str, Task] = {"pretrain": pretrain, "fine_tune": fine_tune}


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None


def _data(job: TrainingJob) -> Any:
    from training.data import TrainingData

    paths: dict[str, Any] = {
        name: Path(value) if isinstance(value, str) else value and tuple(map(Path, value))
        for name, value in job.data.items()
    }
    as_of = datetime.fromisoformat(job.as_of).astimezone(UTC)
    return TrainingData(**paths, as_of=as_of)
