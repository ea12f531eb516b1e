"""Named immutable blobs: one interface over a disk, memory and, through boto3, S3.

Keys are relative, ``/``-separated, and never contain ``..``.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Protocol

from lake.atomic import create_file, replace_file
from lake.errors import LakeError, MissingArtifactError

_AT_ONCE = 10  # as many connections as a boto3 client keeps open


class Objects(Protocol):
    """A store of blobs with a create-if-absent that holds between processes.

    ``str`` says where it is, so that ``<store>/<key>`` is where people find a blob.
    """

    def get(self, key: str) -> bytes:
        """Return the blob; raises MissingArtifactError."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write the blob, replacing what was there in one step."""
        ...

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write the blob only if the key is free; return whether this call wrote it."""
        ...

    def list(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """Yield the keys below the folder ``prefix`` that sort after a key, sorted."""
        ...

    def written_at(self, key: str) -> datetime:
        """Return when the blob was written; raises MissingArtifactError."""
        ...

    def delete(self, key: str) -> None:
        """Remove the blob; removing what is not there is no error."""
        ...


def get_all(objects: Objects, keys: Sequence[str]) -> list[bytes]:
    """Return several blobs, fetched side by side: in a bucket each one is a journey."""
    if len(keys) < 2:
        return [objects.get(key) for key in keys]
    with ThreadPoolExecutor(min(_AT_ONCE, len(keys))) as threads:
        return list(threads.map(objects.get, keys))


def checked_key(key: str) -> str:
    """Return ``key``; raises LakeError unless it is a relative path below the store's root."""
    parts = PurePosixPath(key)
    if not key or parts.is_absolute() or ".." in parts.parts:
        raise LakeError(f"object key: want a relative path without '..', got {key!r}")
    return key


class DiskObjects:
    """Blobs as files below one folder."""

    def __init__(self, root: Path) -> None:
        """Take ``root`` as the folder of all keys; it is made on the first write."""
        self.root = root

    def __str__(self) -> str:
        """Return the folder."""
        return str(self.root)

    def get(self, key: str) -> bytes:
        """Return the file's bytes."""
        try:
            return (self.root / checked_key(key)).read_bytes()
        except FileNotFoundError as error:
            raise MissingArtifactError(f"no object {key!r} in {self.root}") from error

    def put(self, key: str, data: bytes) -> None:
        """Write temp file, fsync, rename."""
        replace_file(self.root / checked_key(key), data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write temp file, fsync, link."""
        return create_file(self.root / checked_key(key), data)

    def list(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """Yield the files below ``prefix``, but for unfinished temporaries."""
        for key in sorted(key for key in self._keys(checked_key(prefix)) if key > after):
            if (self.root / key).is_file():  # not removed meanwhile
                yield key

    def _keys(self, prefix: str) -> Iterator[str]:
        for folder, _, names in os.walk(self.root / prefix):
            below = Path(folder).relative_to(self.root).as_posix()
            yield from (f"{below}/{name}" for name in names if not name.endswith(".tmp"))

    def written_at(self, key: str) -> datetime:
        """Return when the file was written."""
        try:
            return datetime.fromtimestamp((self.root / checked_key(key)).stat().st_mtime, UTC)
        except FileNotFoundError as error:
            raise MissingArtifactError(f"no object {key!r} in {self.root}") from error

    def delete(self, key: str) -> None:
        """Unlink the file."""
        (self.root / checked_key(key)).unlink(missing_ok=True)


class MemoryObjects:
    """Blobs in a dictionary: the fake that passes the same suite as every backend."""

    def __init__(self) -> None:
        """Start empty."""
        self._blobs: dict[str, bytes] = {}
        self._written_at: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def __str__(self) -> str:
        """Return where the blobs are."""
        return "memory"

    def get(self, key: str) -> bytes:
        """Return the blob."""
        try:
            return self._blobs[checked_key(key)]
        except KeyError as error:
            raise MissingArtifactError(f"no object {key!r} in memory") from error

    def put(self, key: str, data: bytes) -> None:
        """Set the blob."""
        with self._lock:
            self._blobs[checked_key(key)] = data
            self._written_at[key] = datetime.now(UTC)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Set the blob under the lock, if the key is free."""
        with self._lock:
            if checked_key(key) in self._blobs:
                return False
            self._blobs[key] = data
            self._written_at[key] = datetime.now(UTC)
            return True

    def list(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """Yield the keys below ``prefix``."""
        folder = checked_key(prefix).rstrip("/") + "/"
        found = sorted(key for key in list(self._blobs) if key.startswith(folder))
        yield from (key for key in found if key > after)

    def written_at(self, key: str) -> datetime:
        """Return when the blob was set."""
        self.get(key)
        return self._written_at[key]

    def delete(self, key: str) -> None:
        """Drop the key."""
        with self._lock:
            self._blobs.pop(checked_key(key), None)
