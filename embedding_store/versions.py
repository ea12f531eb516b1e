"""Immutable versions: opened with proof, read with proof.

::

    versions/<digest>/manifest.json  user_default.parquet
                      user/part-<bucket>.parquet  item/part-<n>.parquet
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from embedding_store.contracts import EmbeddingShard, Side
from embedding_store.errors import CorruptVersionError, UnreachableStoreError
from embedding_store.manifest import FileRecord, Manifest
from embedding_store.parts import read_shard
from lake.digests import digest_bytes

MANIFEST_FILE = "manifest.json"
DEFAULT_USER_FILE = "user_default.parquet"
RESTORE = "restore it from a copy"


def _no_successor() -> None:
    return None


@dataclass(frozen=True)
class Version:
    """An opened version: the folder's name proves its manifest, and that each file read."""

    folder: Path
    manifest: Manifest
    remedy: str = RESTORE
    """What helps where a file is missing or changed."""
    successor: Callable[[], "Version | None"] = _no_successor
    """Returns what an erasure put in its place, if one did."""

    @cached_property
    def digest(self) -> str:
        """The content digest."""
        return self.manifest.digest

    def standing(self) -> "Version":
        """Return this version, or what an erasure put in its place."""
        is_there = (self.folder / MANIFEST_FILE).exists()
        return self if is_there else self.successor() or self

    def record(self, path: str) -> FileRecord:
        """Return the record of a file by its path."""
        return next(one for one in self.manifest.files if one.path == path)

    def read(self, record: FileRecord) -> pa.Buffer:
        """Return a file's bytes, proven; raises CorruptVersionError, UnreachableStoreError.

        When an erasure rewrote the version meanwhile, the bytes are those of the rewritten file:
        the same rows, but for those of erased users.
        """
        path = self.folder / record.path
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            if (rewritten := self.successor()) is not None:
                return rewritten.read(rewritten.record(record.path))
            raise CorruptVersionError(f"{path} is missing: {self.remedy}") from error
        except OSError as error:
            raise UnreachableStoreError.of(error, path) from error
        if digest_bytes(data) != record.sha256:
            raise CorruptVersionError(
                f"{path}: want {record.bytes} bytes with sha256 {record.sha256}, got {len(data)} "
                f"other bytes: {self.remedy}"
            )
        return pa.py_buffer(data)

    def shard(self, record: FileRecord, side: Side) -> EmbeddingShard:
        """Return a part's embeddings, proven."""
        return read_shard(self.read(record), side, self.manifest.dim, self.manifest.dtype)

    @cached_property
    def items(self) -> EmbeddingShard:
        """All items as one shard; items are the small side."""
        tables = [self.shard(one, "item").table for one in self.manifest.parts("item")]
        manifest = self.manifest
        return EmbeddingShard(pa.concat_tables(tables), "item", manifest.dim, manifest.dtype)

    def verify(self) -> None:
        """Re-check every file by checksum; raises CorruptVersionError."""
        for record in self.manifest.files:
            self.read(record)


def open_version(
    folder: Path,
    *,
    manifest_sha256: str | None = None,
    remedy: str = RESTORE,
    successor: Callable[[], Version | None] = _no_successor,
) -> Version:
    """Return the version in ``folder``, its manifest proven by the folder's name and the log.

    Raises CorruptVersionError, with the remedy, when it is missing or changed.
    """
    path = folder / MANIFEST_FILE
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise CorruptVersionError(f"{folder} has no {MANIFEST_FILE}: {remedy}") from error
    if manifest_sha256 is not None and digest_bytes(data) != manifest_sha256:
        raise CorruptVersionError(
            f"{path}: want sha256 {manifest_sha256}, as the log recorded, got {len(data)} other "
            f"bytes: {remedy}"
        )
    manifest = Manifest.from_bytes(data, name=str(path))
    if manifest.digest != folder.name:
        raise CorruptVersionError(
            f"{path}: want content with the digest {folder.name}, as the folder is named, got "
            f"{manifest.digest}: {remedy}"
        )
    return Version(folder, manifest, remedy, successor)
