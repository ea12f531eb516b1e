"""Writes that are seen whole or not at all, on a local disk.

Every function leaves either the old state or the new one after a crash, a full disk or ``kill -9``;
what a crash can leave behind is a file or folder below a ``tmp`` folder, which nothing reads.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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
    replace_file(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


@contextmanager
def staged_folder(scratch: Path) -> Iterator[Path]:
    """Yield an empty folder below ``scratch``; whatever is still there at the end is removed."""
    folder = scratch / f"{os.getpid()}-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_scratch(scratch: Path) -> None:
    """Remove the staged folders of processes that are gone, such as killed ones."""
    for folder in scratch.glob("*-*"):
        if _is_gone(folder.name.partition("-")[0]):
            shutil.rmtree(folder, ignore_errors=True)


def sweep_temporaries(folder: Path) -> None:
    """Remove the unfinished files of processes that are gone, right below ``folder``."""
    for path in folder.glob(".*-*.tmp"):
        if _is_gone(path.name.split(".")[-2].partition("-")[0]):
            path.unlink(missing_ok=True)


def _is_gone(process: str) -> bool:
    return not Path("/proc", process).exists()


def commit_folder(staged: Path, final: Path) -> None:
    """Make ``staged`` durable and move it to ``final``, whole.

    Names are content digests, so a ``final`` that already stands holds the same bytes and is kept.
    """
    for path in sorted(staged.rglob("*")):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_folder(staged)
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        staged.rename(final)
    except OSError:
        if not final.is_dir():
            raise
    sync_folder(final.parent)
