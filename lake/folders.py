"""Immutable folders by name: artifacts and versions, on a disk or in an S3 bucket.

A folder appears under its name whole or not at all, and never changes. Readers get a local path.

::

    disk   <root>/<name>/...               staged, fsynced, renamed
    S3     <url>/<name>/...                every file, each with its checksum, and after them
           <url>/<name>/.files.json        their list; while it is missing the folder is not there
           <cache>/<name>/...              what this machine wrote or read, each file proven
"""

import json
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from lake.atomic import commit_folder, staged_folder, sweep_scratch
from lake.digests import digest_files
from lake.errors import CorruptArtifactError, MissingArtifactError
from lake.objects import checked_key
from lake.s3 import UNFINISHED_FOR, S3Objects

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

    def exists(self, name: str) -> bool:
        """Return whether the folder is there, whole."""
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

    def exists(self, name: str) -> bool:
        """Return whether the folder is there: it was renamed whole."""
        return (self.root / name).is_dir()

    def sweep(self, *, older_than: timedelta = timedelta(0)) -> None:
        """Remove staged folders of processes that are gone."""
        sweep_scratch(self.root / "tmp", older_than=older_than)


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
                for path, sha256 in files.items():
                    if got[path] != sha256:
                        raise CorruptArtifactError(
                            f"{self._objects}/{name}/{path}: want sha256 {sha256}, got "
                            f"{got[path]}: restore the object from a copy"
                        )
                self._cache.commit(staged, name)
        return self._cache.path(name)

    def exists(self, name: str) -> bool:
        """Return whether the list of files is there: it is written last."""
        if self._cache.exists(name):
            return True
        try:
            self._objects.get(f"{name}/{FILE_LIST}")
        except MissingArtifactError:
            return False
        return True

    def sweep(self) -> None:
        """Remove staged folders of processes that are gone, and what old uploads left."""
        self._cache.sweep()
        self._objects.sweep()

    def _listed(self, name: str) -> dict[str, str]:
        """Return the sha256 of every file by path."""
        try:
            listing: Any = json.loads(self._objects.get(f"{name}/{FILE_LIST}"))
            version = listing["format_version"]
            files = {str(path): str(one["sha256"]) for path, one in listing["files"].items()}
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
