"""Models that are trained once and asked often; a training that is killed goes on where it was.

::

    <folder>/<digest of config, data and code>/    a model's folder
    <folder>/<the same>.json                       what it cost
    <folder>/checkpoints/                          of trainings that are not done

What a training cost is summed over the processes that it took, but for those that were killed.
"""

import logging
import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lake.atomic import commit_folder, replace_json, staged_folder
from lake.digests import digest_json
from lake.sealed import json_object
from training.artifact import Model, load_model
from training.config.run import RunConfig
from training.data import TrainingData
from training.features.items import ItemFeatures, build_item_features
from training.features.spec import build_spec
from training.fingerprint import fingerprint, fingerprint_of_code, fingerprint_of_items
from training.pretrain import pretrain
from training.tracker import LoggingTracker

logger = logging.getLogger(__name__)

_DIGITS = 16


def trained_model(
    config: RunConfig, data: TrainingData, folder: Path | None
) -> tuple[Model, dict[str, float]]:
    """Return a model, trained unless ``folder`` has it, and the seconds that it took.

    Without a folder nothing is kept.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as thrown_away:
            return trained_model(config, data, Path(thrown_away))
    of = {
        "config": config.to_json(),
        "data": fingerprint(data.histories()),
        "schema": data.schema().to_json(),
        "items": fingerprint_of_items(_items(data)),
        "as_of": data.as_of.isoformat(),
        "code": fingerprint_of_code(),
    }
    final = folder / digest_json(of)[:_DIGITS]
    spent = final.with_suffix(".json")
    if final.exists():
        logger.info("%s: trained before", final)
    else:
        with staged_folder(folder / "tmp") as staged:
            with _adding_to(spent):
                checkpoints = folder / "checkpoints"
                pretrain(data, config, staged, LoggingTracker(), checkpoints_in=checkpoints)
            commit_folder(staged, final)  # another process may have trained the same
    return load_model(final), _spent(spent)


def _items(data: TrainingData) -> ItemFeatures:
    catalogue = data.catalogue()
    spec = build_spec(data.schema(), data.histories(), catalogue)
    return build_item_features(data.vocabulary().item_ids, catalogue, spec)


@contextmanager
def _adding_to(spent: Path) -> Iterator[None]:
    """Add what is spent in here to what is written there, also when it is cut short."""
    wall, processor = time.perf_counter(), time.process_time()
    before = _spent(spent) if spent.exists() else {"wall_s": 0.0, "processor_s": 0.0}
    try:
        yield
    finally:
        replace_json(
            spent,
            {
                "wall_s": before["wall_s"] + time.perf_counter() - wall,
                "processor_s": before["processor_s"] + time.process_time() - processor,
            },
        )


def _spent(path: Path) -> dict[str, float]:
    """Return the seconds that were written down, NaN where somebody has lost them."""
    try:
        found = json_object(path.read_bytes())
        return {name: float(found[name]) for name in ("wall_s", "processor_s")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s: what the model cost is unknown: %r", path, error)
        return {"wall_s": math.nan, "processor_s": math.nan}
