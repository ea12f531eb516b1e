"""The embedding store: its folders and its log.

::

    versions/<digest>/                 immutable; seen whole or not at all
    indexes/<digest>/                  of a version's items, for approximate search
    gates/<digest>.json                what the gates said, also when they failed
    history/f<frame>/{user,item}/      what ``stable`` served from when on, a part per switch
    log/<seq>.json                     the commit log: the truth
    log-checkpoints/<N>.jsonl.gz       copies of its first entries
    tmp/                               unfinished work; nothing reads it

Where the folder names a bucket (``lake.storage``), versions, gates and log are there, and versions
that this machine wrote or read in ``cache/``; the history is a projection that each machine makes.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path

from embedding_store.contracts import Side
from embedding_store.errors import CorruptVersionError
from embedding_store.folding import NewestState, fold
from embedding_store.state import PublishedVersion, StoreState
from embedding_store.versions import RESTORE, Version, open_version
from lake.atomic import sweep_scratch, sweep_temporaries
from lake.errors import MissingArtifactError
from lake.folders import Folders
from lake.log import CommitLog
from lake.objects import Objects
from lake.s3 import S3File
from lake.storage import Storage, open_storage

_VERSIONS = "versions"


@dataclass(frozen=True)
class EmbeddingStore:
    """The store of one folder; it is made on the first write."""

    root: Path
    erasure_key: str = field(default="", repr=False, compare=False)
    """Secret of the hashes of erased users; only who publishes or erases needs it."""

    @cached_property
    def _storage(self) -> Storage:
        return open_storage(self.root)

    @property
    def url(self) -> str:
        """Where people find what is durable."""
        return self._storage.url

    @property
    def objects(self) -> Objects:
        """Small immutable files: log entries and gate records."""
        return self._storage.objects

    @property
    def folders(self) -> Folders:
        """Immutable folders: versions, and the indexes beside them."""
        return self._storage.folders

    @cached_property
    def log(self) -> CommitLog:
        """The commit log."""
        return CommitLog(self.objects)

    def state(self, as_of: datetime | None = None) -> StoreState:
        """Return the fold of the log, of the entries in effect at ``as_of``.

        The newest state is folded on from the one before, by whichever thread asks.
        """
        entries = self.log.entries()
        return self._newest.after(entries) if as_of is None else fold(entries, as_of)

    @cached_property
    def _newest(self) -> NewestState:
        return NewestState()

    @property
    def scratch(self) -> Path:
        """Where unfinished work lies."""
        return self.root / "tmp"

    def version_folder(self, digest: str) -> Path:
        """Return the version's folder on this machine; raises CorruptVersionError.

        By a digest from before an erasure, it is the folder of what was put in its place.
        """
        try:
            return self._folder(digest)
        except CorruptVersionError:
            current = self.state().current_digest(digest)
            if current == digest:
                raise
            return self._folder(current)

    def version_files(self, digest: str) -> Mapping[str, Path | S3File]:
        """Return its files, neither proven nor downloaded; raises MissingArtifactError."""
        return self.folders.files(_version(digest))

    def open(self, version: PublishedVersion) -> Version:
        """Return a published version, its manifest proven; raises CorruptVersionError.

        An erasure that rewrites it, before or after, takes nothing away but rows of erased users.
        """
        try:
            return self._open(version)
        except CorruptVersionError:
            rewritten = self._rewritten(version)
            if rewritten is None:
                raise
            return rewritten

    def _open(self, version: PublishedVersion) -> Version:
        folder = self._folder(version.digest)
        is_copy = self.url != str(self.root)
        remedy = (
            f"remove {folder}, a copy, and pin again: {self.url} has it" if is_copy else RESTORE
        )
        return open_version(
            folder,
            manifest_sha256=version.manifest_sha256,
            remedy=remedy,
            successor=partial(self._rewritten, version),
        )

    def _rewritten(self, version: PublishedVersion) -> Version | None:
        """Return what an erasure put in the version's place since it was looked up, if one did."""
        now = self.state().versions.get(version.number)
        return None if now is None or now.digest == version.digest else self.open(now)

    def _folder(self, digest: str) -> Path:
        try:
            return self._storage.folders.path(_version(digest))
        except MissingArtifactError as error:
            raise CorruptVersionError(f"{error}: restore the folder, or roll back") from error

    def stored_versions(self) -> list[str]:
        """Return the digests of all versions whose files are kept, named by the log or not.

        Some may be half there: being written, or half removed.
        """
        names = self._storage.folders.names(_VERSIONS, depth=1)
        return [name.removeprefix(f"{_VERSIONS}/") for name in names]

    def has_version(self, digest: str) -> bool:
        """Return whether a version's folder is there, whole."""
        return self._storage.folders.exists(_version(digest))

    def is_collected(self, number: int) -> bool:
        """Return whether a version was retired and its files were removed."""
        version = self.state().version(number)
        return version.is_retired and not self.has_version(version.digest)

    def version_written_at(self, digest: str) -> datetime:
        """Return when a version's folder was written."""
        return self._storage.folders.written_at(_version(digest))

    def version_size(self, digest: str) -> int:
        """Return the bytes of a version's files."""
        return self._storage.folders.size(_version(digest))

    def remove_version(self, digest: str) -> None:
        """Remove a version's files for good; whoever calls knows that nothing names them."""
        self._storage.folders.remove(_version(digest))

    def staged_version(self) -> AbstractContextManager[Path]:
        """Give an empty folder for a version."""
        return self._storage.folders.staged()

    def commit_version(self, staged: Path, digest: str) -> None:
        """Make a staged version durable, whole."""
        self._storage.folders.commit(staged, _version(digest))

    def history_folder(self, frame: int, side: Side) -> Path:
        """Return where the parts of the frame's served history lie."""
        return self.root / "history" / f"f{frame}" / side

    def sweep(self) -> None:
        """Remove what killed runs left behind; what living ones are at stays."""
        sweep_scratch(self.scratch)
        self._storage.folders.sweep()
        for folder in ("log", "log-checkpoints", "gates"):
            sweep_temporaries(self.root / folder)


def _version(digest: str) -> str:
    return f"{_VERSIONS}/{digest}"
