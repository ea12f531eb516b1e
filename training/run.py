"""One run of pretraining, and what each process that takes part in it does."""

from dataclasses import dataclass
from pathlib import Path

from lake.atomic import move_folder, staged_folder
from lake.lake import Written
from training.config.run import RunConfig
from training.data import TrainingData
from training.pretrain import pretrain
from training.processes import Processes
from training.tracker import Tracker


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What all processes have to know."""

    data: TrainingData
    config: RunConfig
    out: Path
    """The folder to make."""
    checkpoints: Path | None = None
    """Folder in which a run that was killed finds its state."""
    is_sharded: bool = False
    """Whether each process keeps a share of the weights."""


def take_part(run: Run, tracker: Tracker, processes: Processes) -> Written:
    """Pretrain with the others; the first process makes ``run.out``, whole or not at all."""
    with staged_folder(run.out.parent / "tmp") as staged:
        written = pretrain(
            run.data,
            run.config,
            staged,
            tracker,
            checkpoints_in=run.checkpoints,
            processes=processes,
        )
        if processes.is_first:
            move_folder(staged, run.out)
    return written
