"""A run's state on disk: killed at any step and started again, it ends in the very same weights.

::

    <folder>/<run>/00000400.safetensors   weights, moments, average, best weights
    <folder>/<run>/00000400.json          the rest, and the digest of the other file

``<run>`` is the digest of config, data and code, so a run finds its own state or none. The JSON is
written last: what it does not name is no checkpoint. The newest two are kept, those of runs that
nobody took up again for a week are removed.
"""

import logging
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load, save

from lake.atomic import replace_file, replace_json
from lake.digests import digest_bytes, digest_json
from lake.sealed import json_object, sealed, unsealed
from training.errors import ArtifactError
from training.state import Snapshot

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
_KEPT = 2
_DIGITS = 16
_FORGOTTEN_S = 7 * 24 * 3600.0
_OURS = re.compile(r"\.?\d{8}\.(json|safetensors)(\..*\.tmp)?")
"""Files of a checkpoint, also unfinished ones."""


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, root: Path, run: Mapping[str, Any], *, every_s: float = 300.0) -> None:
        """Keep them below ``root``, those of other runs beside them.

        Args:
            root: folder of checkpoints; need not be there.
            run: what the run is, in JSON: whatever changes its result.
            every_s: least time between two that are written; it changes no result.
        """
        self.folder = root / digest_json(run)[:_DIGITS]
        self._every_s = every_s
        self._written_at = time.monotonic()
        _sweep(root, but=self.folder)

    def is_due(self) -> bool:
        """Return whether the last one that was written is old enough for another."""
        return time.monotonic() - self._written_at >= self._every_s

    def offer(self, snapshot: Snapshot) -> None:
        """Write the snapshot if the disk has room for it.

        A run does not end because its disk is full: it is warned, and tries again next time.
        """
        try:
            self.write(snapshot)
        except OSError as error:
            logger.warning("no checkpoint of step %d: %s", snapshot.step, error)

    def write(self, snapshot: Snapshot) -> None:
        """Write the snapshot, whole or not at all."""
        data = save(dict(snapshot.tensors))
        path = self.folder / f"{snapshot.step:08d}.json"
        replace_file(path.with_suffix(".safetensors"), data)
        facts = {"format_version": FORMAT_VERSION, "state": dict(snapshot.facts)}
        replace_json(path, sealed({**facts, "tensors": digest_bytes(data)}))
        # one of a later step was passed over, or this run would be there: it is no use to anybody
        kept = [one for one in self._paths() if one <= path][-_KEPT:]
        for old in set(self._paths()) - set(kept):
            old.unlink()
            old.with_suffix(".safetensors").unlink(missing_ok=True)
        self._written_at = time.monotonic()

    def newest(self) -> Snapshot | None:
        """Return the newest checkpoint that is whole, None where there is none.

        A damaged one is passed over with a warning.
        """
        for path in reversed(self._paths()):
            try:
                return self._read(path)
            except ArtifactError as error:
                logger.warning("%s; going on from the one before", error)
        return None

    def remove(self) -> None:
        """Remove them all: the run is over."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.json"))

    def _read(self, path: Path) -> Snapshot:
        try:
            facts = unsealed(json_object(path.read_bytes()))
            data = path.with_suffix(".safetensors").read_bytes()
        except (ValueError, OSError) as error:
            raise ArtifactError(f"checkpoint {path}: {error}") from error
        if (version := facts.get("format_version")) != FORMAT_VERSION:
            raise ArtifactError(f"checkpoint {path}: read format {FORMAT_VERSION}, got {version!r}")
        if missing := {"tensors", "state"} - facts.keys():
            raise ArtifactError(f"checkpoint {path}: it has no {', '.join(sorted(missing))}")
        if digest_bytes(data) != facts["tensors"]:
            raise ArtifactError(f"checkpoint {path}: its tensors want sha256 {facts['tensors']}")
        return Snapshot(tensors=load(data), facts=facts["state"])


def _sweep(root: Path, *, but: Path) -> None:
    """Remove what runs left behind that nobody took up again; nothing that is not ours."""
    before = time.time() - _FORGOTTEN_S
    for folder in root.glob("*"):
        if folder == but or not re.fullmatch(rf"[0-9a-f]{{{_DIGITS}}}", folder.name):
            continue
        paths = list(folder.glob("*"))
        is_ours = all(_OURS.fullmatch(path.name) for path in paths)
        if is_ours and paths and max(path.stat().st_mtime for path in paths) < before:
            shutil.rmtree(folder, ignore_errors=True)
