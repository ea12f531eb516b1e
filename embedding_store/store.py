"""The embedding store: its folders and its log.

::

    versions/<digest>/                 immutable; seen whole or not at all
    gates/<digest>.json                what the gates said, also when they failed
    history/f<frame>/{user,item}/      what ``stable`` served from when on, a part per switch
    log/<seq>.json                     the commit log: the truth
    tmp/                               unfinished work; nothing reads it
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from embedding_store.contracts import Side
from embedding_store.state import StoreState, fold
from lake.atomic import sweep_scratch, sweep_temporaries
from lake.log import CommitLog
from lake.objects import DiskObjects


@dataclass(frozen=True)
class EmbeddingStore:
    """A store below one folder; it is made on the first write."""

    root: Path

    @cached_property
    def objects(self) -> DiskObjects:
        """Small immutable files: log entries and gate records."""
        return DiskObjects(self.root)

    @cached_property
    def log(self) -> CommitLog:
        """The commit log."""
        return CommitLog(self.objects)

    def state(self, as_of: datetime | None = None) -> StoreState:
        """Return the fold of the log, of the entries in effect at ``as_of``."""
        return fold(self.log.entries(), as_of)

    @property
    def scratch(self) -> Path:
        """Where unfinished work lies."""
        return self.root / "tmp"

    def version_folder(self, digest: str) -> Path:
        """Return where the version with that digest lies."""
        return self.root / "versions" / digest

    def history_folder(self, frame: int, side: Side) -> Path:
        """Return where the parts of the frame's served history lie."""
        return self.root / "history" / f"f{frame}" / side

    def sweep(self) -> None:
        """Remove what killed runs left behind; what living ones are at stays."""
        sweep_scratch(self.scratch)
        for folder in ("log", "gates"):
            sweep_temporaries(self.root / folder)
