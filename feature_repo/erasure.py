"""Erased users taken out of all that was published: versions, served history, online rows.

::

    tombstones ─► store: versions, log, history ─► Feast: online rows, registry

Killed anywhere, the same call finishes, and so does the next ``reconcile``, but for versions that
the log does not know of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from embedding_store.entries import VersionsErased, parse
from embedding_store.publisher import Publisher
from embedding_store.store import EmbeddingStore
from feature_repo.folder import FeastFolder
from feature_repo.forgetting import forget
from feature_repo.leaving import empty_left, registered_tables
from feature_repo.projection import reconcile
from lake.lock import exclusive_lock
from lake.tombstones import Tombstones


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedErasure:
    """One erasure, as the log has it."""

    log_entry: int
    """Its sequence number; the entry has the users' hashes."""
    versions: Mapping[str, Mapping[str, Any]]
    """By digest before: digest and manifest after, and how many rows less."""


def erase_published(
    workspace: Path, tombstones: Tombstones, *, at: datetime, erasure_key: str = ""
) -> tuple[PublishedErasure, ...]:
    """Erase from what is published whoever has a tombstone; return all erasures that were logged.

    Raises CorruptVersionError or RenderingError where a version's files are damaged.
    """
    folder = FeastFolder.of(workspace)
    store = EmbeddingStore(folder.store, erasure_key)
    Publisher(store, by="erase").erase(
        tombstones, effective_at=at, why="their users asked to be erased"
    )
    state = store.state()
    if folder.configuration.exists():
        if any(state.online_versions(frame) for frame in state.frames):
            reconcile(workspace, erasure_key=erasure_key)
        else:  # which has nothing to render
            with exclusive_lock(folder.lock, what=str(folder.path), is_waiting=True):
                for table in registered_tables(folder) if folder.has_registry() else []:
                    table.keep_only(set())
                forget(folder, (), len(state.erasures))
        empty_left(folder)
    return tuple(
        PublishedErasure(log_entry=entry.seq, versions=body.replacements)
        for entry in store.log.entries()
        if isinstance(body := parse(entry), VersionsErased)
    )
