"""``python -m training RECIPE --data FOLDER --out FOLDER``: pretraining without any platform.

On several processes: ``torchrun --nproc-per-node 2 -m training RECIPE --data FOLDER --out FOLDER``,
with ``--sharded`` where the weights are to be shared out to them, or on Ray's workers:
``python -m training RECIPE --ray-workers 2 ...`` (docs/training.md).

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

from lake.days import end_of
from training.data import TrainingData
from training.errors import NoDataError, TrainingError
from training.processes import Processes, joined
from training.ray_train import pretrain_on_ray
from training.recipes import load_recipe
from training.run import Run, take_part
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
    parser.add_argument("--ray-workers", type=int, help="workers that Ray Train starts")
    parser.add_argument("--ray-address", help="of Ray's cluster; by default they are started here")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        config = load_recipe(given.recipe)
        data = find_data(given.data.absolute(), through=given.through)
        if given.out.exists():
            parser.error(f"--out {given.out} exists already")
        run = Run(
            data=data,
            config=config,
            out=given.out.absolute(),  # Ray's workers are in folders of their own
            checkpoints=given.checkpoints and given.checkpoints.absolute(),
            is_sharded=given.sharded,
        )
        if given.ray_workers is not None:
            made = pretrain_on_ray(run, num_workers=given.ray_workers, address=given.ray_address)
            logger.info("%s", made)
            return 0
        with joined(is_sharded=run.is_sharded) as processes, _tracker(processes) as tracker:
            written = take_part(run, tracker, processes)
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
