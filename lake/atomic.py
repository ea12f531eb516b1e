"""Writes that are seen whole or not at all, on a local disk.

Every function leaves either the old state or the new one after a crash, a full disk or ``kill -9``.
A crash can leave unfinished work behind, which nothing reads: of a file ``.<name>.<process>.tmp``
beside it, of a folder ``<process>`` below the scratch folder. The ``sweep`` functions remove both.
"""

import errno
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from lake.digests import digest_folder

logger = logging.getLogger(__name__)


def sync_folder(folder: Path) -> None:
    """Make the entries of ``folder`` durable (POSIX: a rename is durable once its folder is)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _temporary_beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex}.tmp")


def replace_file(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, replacing what was there in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_beside(path)
    try:
        _write_synced(temporary, data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def create_file(path: Path, data: bytes) -> bool:
    """Write ``data`` to ``path`` only if nothing is there; return whether this call created it.

    ``link`` is the disk's compare-and-swap: it fails when the name exists, also between processes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_beside(path)
    try:
        _write_synced(temporary, data)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


def replace_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` as readable JSON with sorted keys, replacing what was there in one step."""
    replace_file(path, _readable(value))


def create_json(path: Path, value: Mapping[str, Any]) -> bool:
    """Write as ``replace_json`` does, only if nothing is there; return whether this call did."""
    return create_file(path, _readable(value))


def _readable(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


@contextmanager
def staged_folder(scratch: Path) -> Iterator[Path]:
    """Yield an empty folder below ``scratch``; whatever is still there at the end is removed."""
    folder = make_scratch(scratch)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_scratch(scratch: Path) -> Path:
    """Make an empty folder that its maker removes, or a sweep once that process is gone."""
    folder = scratch / f"{os.getpid()}-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    return folder


def sweep_scratch(scratch: Path, *, older_than: timedelta = timedelta(0)) -> None:
    """Remove the staged folders of processes that are gone, such as killed ones.

    Containers that share ``scratch`` do not see each other's processes: say ``older_than`` there.
    """
    for folder in abandoned(scratch, older_than=older_than):
        shutil.rmtree(folder, ignore_errors=True)


def abandoned(scratch: Path, *, older_than: timedelta = timedelta(0)) -> list[Path]:
    """Return the staged folders of processes that are gone: what ``sweep_scratch`` removes."""
    before = time.time() - older_than.total_seconds()
    return [
        folder
        for folder in sorted(scratch.glob("*-*"))
        if (not older_than or _changed_before(folder, before))
        and _is_gone(folder.name.partition("-")[0])
    ]


def sweep_temporaries(folder: Path) -> None:
    """Remove the unfinished files of processes that are gone, anywhere below ``folder``."""
    for path in folder.rglob(".*-*.tmp"):
        if _is_gone(path.name.split(".")[-2].partition("-")[0]):
            path.unlink(missing_ok=True)


def _changed_before(folder: Path, instant: float) -> bool:
    try:
        return folder.stat().st_mtime <= instant
    except FileNotFoundError:
        return False  # swept by another


def _is_gone(process: str) -> bool:
    if not process.isdecimal():
        return False  # a name that none of ours made
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it lives, as another user's
    return False


def move_folder(staged: Path, final: Path) -> None:
    """Make ``staged`` durable and move it to ``final``, whole; raises OSError where files stand."""
    for path in sorted(staged.rglob("*")):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_folder(staged)
    final.parent.mkdir(parents=True, exist_ok=True)
    staged.rename(final)
    sync_folder(final.parent)


def commit_folder(staged: Path, final: Path) -> None:
    """Move ``staged`` to ``final``, which is named by its content.

    A ``final`` that already stands is kept when it holds the same bytes. Otherwise it was damaged:
    it is set aside in one step, replaced and removed. Readers may find nothing in between.
    """
    aside = staged.with_name(f"{staged.name}-damaged")  # in the scratch folder, should we be killed
    while True:
        try:
            move_folder(staged, final)
            break
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise
        if digest_folder(final) == digest_folder(staged):
            return
        logger.warning("%s was damaged: it is replaced", final)
        with suppress(FileNotFoundError):  # another process was faster
            final.rename(aside)
            sync_folder(final.parent)
    shutil.rmtree(aside, ignore_errors=True)
