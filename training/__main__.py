"""``python -m training RECIPE --data FOLDER --out FOLDER``: pretraining without any platform.

On several processes: ``torchrun --nproc-per-node 2 -m training RECIPE --data FOLDER --out FOLDER``,
with ``--sharded`` where the weights are to be shared out to them (docs/training.md).

``--data`` holds folders in the layout of a lake's artifacts, one per day or one that every asset
shares::

    interaction_tokens/<day>/  catalogue/<day>/  vocabulary/<day>/  [history_prefix/history/]
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from rich.console import Console

from lake.atomic import move_folder, staged_folder
from lake.days import end_of
from training.data import TrainingData
from training.errors import NoDataError, TrainingError
from training.pretrain import pretrain
from training.processes import Processes, joined
from training.recipes import load_recipe
from training.terminal import terminal_tracker
from training.tracker import LoggingTracker, SilentTracker, Tracker

logger = logging.getLogger("training")


def find_data(root: Path, *, through: date | None) -> TrainingData:
    """Return the data of every day in ``root``, or of those up to ``through``."""
    days = sorted(folder.name for folder in (root / "interaction_tokens").glob("*-*-*"))
    days = [day for day in days if through is None or date.fromisoformat(day) <= through]
    if not days:
        raise NoDataError(f"no folder interaction_tokens/<day> in {root}")
    prefix = root / "history_prefix" / "history"
    return TrainingData(
        token_folders=tuple(root / "interaction_tokens" / day for day in days),
        prefix_folder=prefix if prefix.is_dir() else None,
        catalogue_folder=root / "catalogue" / days[-1],
        vocabulary_folder=root / "vocabulary" / days[-1],
        as_of=end_of(date.fromisoformat(days[-1])),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Pretrain; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Pretrain a model.")
    parser.add_argument("recipe", help="one of training/recipes.py, or package.module:function")
    parser.add_argument("--data", type=Path, required=True, help="folder with the inputs")
    parser.add_argument("--out", type=Path, required=True, help="folder to make; must not exist")
    parser.add_argument(
        "--checkpoints", type=Path, help="folder in which a run that was killed finds its state"
    )
    parser.add_argument("--through", type=date.fromisoformat, help="last day to read, YYYY-MM-DD")
    parser.add_argument(
        "--sharded", action="store_true", help="each of torchrun's processes keeps some weight rows"
    )
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        config = load_recipe(given.recipe)
        data = find_data(given.data, through=given.through)
        if given.out.exists():
            parser.error(f"--out {given.out} exists already")
        with (
            joined(is_sharded=given.sharded) as processes,
            _tracker(processes) as tracker,
            # whole or not at all: a killed run leaves nothing at --out
            staged_folder(given.out.parent / "tmp") as staged,
        ):
            written = pretrain(
                data,
                config,
                staged,
                tracker,
                checkpoints_in=given.checkpoints,
                processes=processes,
            )
            if processes.is_first:
                move_folder(staged, given.out)
    except TrainingError as error:
        logger.error("%s", error)  # noqa: TRY400 - the message says it all
        return 1
    if processes.is_first:
        logger.info("%s: %s", given.out, dict(written.figures))
    return 0


@contextmanager
def _tracker(processes: Processes) -> Iterator[Tracker]:
    """Yield a bar for a person, lines for a log, nothing of processes that do as the first one."""
    if not processes.is_first:
        yield SilentTracker()
    elif sys.stderr.isatty():
        with terminal_tracker(Console(stderr=True)) as tracker:
            yield tracker
    else:
        yield LoggingTracker()


if __name__ == "__main__":
    sys.exit(main())
