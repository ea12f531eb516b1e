"""Immutable folders by name: artifacts and versions, on a disk or in an S3 bucket.

A folder appears under its name whole or not at all, and never changes. Readers get a local path.

::

    disk   <root>/<name>/...               staged, fsynced, renamed
    S3     <url>/<name>/...                every file, each with its checksum, and after them
           <url>/<name>/.files.json        their list; while it is missing the folder is not there
           <cache>/<name>/...              what this machine wrote or read, each file proven
"""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Protocol

from lake.atomic import commit_folder, staged_folder, sweep_scratch, sync_folder
from lake.digests import digest_files
from lake.errors import CorruptArtifactError, MissingArtifactError
from lake.objects import checked_key
from lake.s3 import UNFINISHED_FOR, S3File, S3Objects
from lake.sealed import json_object

FILE_LIST = ".files.json"
FORMAT_VERSION = 1


class Folders(Protocol):
    """A store of immutable folders."""

    def staged(self) -> AbstractContextManager[Path]:
        """Give an empty local folder to fill; what is not committed is removed at the end."""
        ...

    def commit(self, staged: Path, name: str) -> None:
        """Make a staged folder durable under ``name``, whole; a damaged one there is replaced."""
        ...

    def path(self, name: str) -> Path:
        """Return the folder on this machine; raises MissingArtifactError."""
        ...

    def files(self, name: str) -> Mapping[str, Path | S3File]:
        """Return the files by path, without a download; raises MissingArtifactError.

        What is read of a file that is not on this machine is not proven by its checksum, and
        raises MissingArtifactError where the folder is half removed.
        """
        ...

    def exists(self, name: str) -> bool:
        """Return whether the folder is there, whole."""
        ...

    def names(self, prefix: str, *, depth: int) -> list[str]:
        """Return the names of ``depth`` parts below ``prefix``, sorted, also half removed ones."""
        ...

    def written_at(self, name: str) -> datetime:
        """Return when the folder was written; raises MissingArtifactError."""
        ...

    def size(self, name: str) -> int:
        """Return the bytes of the folder's files, of a half removed one those that are left."""
        ...

    def remove(self, name: str) -> None:
        """Remove the folder for good, here and where it is kept; what is not there is no error."""
        ...

    def sweep(self) -> None:
        """Remove the unfinished work of killed processes; that of living ones stays."""
        ...


class DiskFolders:
    """Folders below one folder of a local disk."""

    def __init__(self, root: Path) -> None:
        """Take ``root`` as the folder of all names; ``<root>/tmp`` holds unfinished work."""
        self.root = root

    def staged(self) -> AbstractContextManager[Path]:
        """Give a folder on the same disk, so that committing is a rename."""
        return staged_folder(self.root / "tmp")

    def commit(self, staged: Path, name: str) -> None:
        """Make the files durable and rename."""
        commit_folder(staged, self.root / name)

    def path(self, name: str) -> Path:
        """Return the folder itself."""
        folder = self.root / name
        if not folder.is_dir():
            raise MissingArtifactError(f"no folder {folder}")
        return folder

    def files(self, name: str) -> Mapping[str, Path]:
        """Return the files themselves."""
        folder = self.path(name)
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path for path in found}

    def exists(self, name: str) -> bool:
        """Return whether the folder is there: it was renamed whole."""
        return (self.root / name).is_dir()

    def names(self, prefix: str, *, depth: int) -> list[str]:
        """Return the folders at that depth."""
        found = (self.root / checked_key(prefix)).glob("/".join("*" * depth))
        return sorted(path.relative_to(self.root).as_posix() for path in found if path.is_dir())

    def written_at(self, name: str) -> datetime:
        """Return when the last file was put in, before the folder was renamed."""
        return datetime.fromtimestamp(self.path(name).stat().st_mtime, UTC)

    def size(self, name: str) -> int:
        """Return the bytes on the disk."""
        files = (path for path in (self.root / checked_key(name)).rglob("*") if path.is_file())
        return sum(path.stat().st_size for path in files)

    def remove(self, name: str) -> None:
        """Take the folder away in one step, then its files."""
        with self.staged() as staged, suppress(FileNotFoundError):
            (self.root / checked_key(name)).rename(staged / "removed")
            sync_folder((self.root / name).parent)

    def sweep(self, *, older_than: timedelta = timedelta(0)) -> None:
        """Remove staged folders of processes that are gone."""
        sweep_scratch(self.root / "tmp", older_than=older_than)


@dataclass(frozen=True, slots=True)
class _Listed:
    """A file of a folder, as the list has it."""

    bytes: int
    sha256: str


class S3Folders:
    """Folders below a prefix of a bucket, with a cache on this machine's disk."""

    def __init__(self, objects: S3Objects, cache: Path) -> None:
        """Take ``cache`` as the folder of local copies; removing it costs downloads, no data."""
        self._objects = objects
        self._cache = DiskFolders(cache)

    def staged(self) -> AbstractContextManager[Path]:
        """Give a folder beside the cache."""
        return self._cache.staged()

    def commit(self, staged: Path, name: str) -> None:
        """Upload every file, then their list, then keep the folder as this machine's copy."""
        files = digest_files(staged)
        listing = {
            "format_version": FORMAT_VERSION,
            "files": {
                path: {"bytes": (staged / path).stat().st_size, "sha256": sha256}
                for path, sha256 in files.items()
            },
        }
        for path in files:
            self._objects.upload(f"{name}/{path}", staged / path)
        data = (json.dumps(listing, indent=1, sort_keys=True) + "\n").encode()
        self._objects.put(f"{name}/{FILE_LIST}", data)
        self._cache.commit(staged, name)

    def path(self, name: str) -> Path:
        """Return this machine's copy, downloaded and proven when it is not there yet."""
        if not self._cache.exists(name):
            # whoever only reads runs no sweep, and a killed download may be of gigabytes
            self._cache.sweep(older_than=UNFINISHED_FOR)
            files = self._listed(name)
            with self._cache.staged() as staged:
                for path in files:
                    target = staged / checked_key(path)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self._objects.download(f"{name}/{path}", target)
                got = digest_files(staged)
                for path, listed in files.items():
                    if got[path] != listed.sha256:
                        raise CorruptArtifactError(
                            f"{self._objects}/{name}/{path}: want sha256 {listed.sha256}, got "
                            f"{got[path]}: restore the object from a copy"
                        )
                self._cache.commit(staged, name)
        return self._cache.path(name)

    def files(self, name: str) -> Mapping[str, Path | S3File]:
        """Return this machine's copies, or else the objects, of which parts can be read."""
        if self._cache.exists(name):
            return self._cache.files(name)
        return {
            path: S3File(self._objects, f"{name}/{checked_key(path)}", listed.bytes)
            for path, listed in self._listed(name).items()
        }

    def exists(self, name: str) -> bool:
        """Return whether the list of files is there: it is written last."""
        if self._cache.exists(name):
            return True
        try:
            self._objects.get(f"{name}/{FILE_LIST}")
        except MissingArtifactError:
            return False
        return True

    def names(self, prefix: str, *, depth: int) -> list[str]:
        """Return what the keys of the bucket and this machine's copies begin with."""
        parts = len(PurePosixPath(prefix).parts) + depth
        keys = (PurePosixPath(key).parts for key in self._objects.list(prefix))
        found = {"/".join(key[:parts]) for key in keys if len(key) > parts}
        return sorted(found.union(self._cache.names(prefix, depth=depth)))

    def written_at(self, name: str) -> datetime:
        """Return when the list of files, or what is left of them, was put into the bucket."""
        for key in self._objects.list(name):  # the list sorts before other names
            return self._objects.written_at(key)
        return self._cache.written_at(name)

    def size(self, name: str) -> int:
        """Return the bytes in the bucket."""
        return self._objects.size(name)

    def remove(self, name: str) -> None:
        """Delete the files, then their list, then this machine's copy.

        Who is killed in between finds the name again among ``names``.
        """
        listing = f"{name}/{FILE_LIST}"
        for key in list(self._objects.list(name)):
            if key != listing:
                self._objects.delete(key)
        self._objects.delete(listing)
        self._cache.remove(name)

    def sweep(self) -> None:
        """Remove staged folders of processes that are gone, and what old uploads left."""
        self._cache.sweep()
        self._objects.sweep()

    def _listed(self, name: str) -> "dict[str, _Listed]":
        """Return what the list says of every file, by path."""
        try:
            listing = json_object(self._objects.get(f"{name}/{FILE_LIST}"))
            version = listing["format_version"]
            files = {
                str(path): _Listed(int(one["bytes"]), str(one["sha256"]))
                for path, one in listing["files"].items()
            }
        except MissingArtifactError as error:
            raise MissingArtifactError(f"no folder {self._objects}/{name}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptArtifactError(
                f"{self._objects}/{name}/{FILE_LIST}: is no list of files ({error}): restore it"
            ) from error
        if version != FORMAT_VERSION:
            raise CorruptArtifactError(
                f"{self._objects}/{name}/{FILE_LIST}: read format {FORMAT_VERSION}, got {version!r}"
            )
        return files
