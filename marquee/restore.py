"""``marquee restore``: a workspace's store from a backup, without anybody who was erased.

::

    backup ─► restoring/ ─► erased there ─► versions, gates, history ─► log, entry by entry

Nobody can read what is not erased yet: it lies in the workspace's ``restoring`` folder, which is
no store, and in the store the log comes last. Whoever is killed runs the same command again.
"""

import json
import logging
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from assets.consumer_registry import FOLDER as CONSUMERS
from assets.workspace import Workspace, WorkspaceConfig
from embedding_store.publisher import Publisher
from embedding_store.store import EmbeddingStore
from feature_repo.folder import FeastFolder
from lake.atomic import replace_file
from lake.digests import digest_file
from lake.objects import Objects, checked_key
from marquee.backup import WORKSPACE_FILE, Backup, blob, newest, open_place
from marquee.erasure import users_named
from marquee.errors import CommandError

logger = logging.getLogger(__name__)

_READY, _KNOWN = "ready", "known"


def restore(
    root: Path, place: str, *, storage: str = "", erased: Path | None, erasure_key: str
) -> Backup:
    """Make the workspace's store what the newest backup at ``place`` holds; return that.

    Args:
        root: the workspace; it may have a lake, its store must be empty.
        place: folder or ``s3://bucket/prefix``.
        storage: where a workspace that is not there yet keeps lake and store; empty for its folder.
        erased: file of the users erased since the backup, one id a line; it may be left out where
            the lake is there with its tombstones.
        erasure_key: secret of the tombstones.
    """
    source = open_place(place)
    backup = newest(source)
    if backup is None:
        raise CommandError(f"{place} holds no whole backup: `marquee backup {place}` makes one")
    staged = root / "restoring"
    _begin(root, staged)
    if not (staged / _KNOWN).exists() and erased is None:
        raise CommandError(
            f"nothing here knows who was erased since this backup was made, at {backup.made_at}: "
            "name a file of their ids, one a line, with --erased; it may be empty"
        )
    workspace = _workspace(root, source, backup, storage=storage, erasure_key=erasure_key)
    with workspace.writing():
        _require_empty(workspace.store, staged)
        _add_tombstones(workspace, source, backup, erased)
        if not (staged / _READY).exists():
            _fetch(source, backup, staged)
            _erase(EmbeddingStore(staged / "store", erasure_key), workspace)
            (staged / _READY).touch()
        logger.info("step restore-erased: %s", root)
        _bring_consumers(root, source, backup)
        _install(EmbeddingStore(staged / "store"), workspace.store)
        # of the log that was lost, which may have been longer: `reconcile` makes it again
        FeastFolder.of(root).registry.unlink(missing_ok=True)
        shutil.rmtree(staged)
    return backup


def _begin(root: Path, staged: Path) -> None:
    """Make the folder of unfinished work; it remembers whether a lake knows who was erased."""
    if not staged.exists():
        is_known = _has_lake(root)
        staged.mkdir(parents=True)
        if is_known:
            (staged / _KNOWN).touch()


def _has_lake(root: Path) -> bool:
    """Return whether the workspace has a lake that something was written to."""
    if not (root / WORKSPACE_FILE).exists():
        return False
    lake = Workspace.open(root).lake
    tombstones = lake.storage.objects.list("tombstones")
    return any(True for _ in lake.partitions()) or any(True for _ in tombstones)


def _workspace(
    root: Path, source: Objects, backup: Backup, *, storage: str, erasure_key: str
) -> Workspace:
    if (root / WORKSPACE_FILE).exists():
        return Workspace.open(root, erasure_key=erasure_key)
    held = WorkspaceConfig.from_json(json.loads(blob(source, backup.files[WORKSPACE_FILE])))
    return Workspace.create(root, replace(held, storage=storage), erasure_key=erasure_key)


def _require_empty(store: EmbeddingStore, staged: Path) -> None:
    if not (staged / _READY).exists() and any(True for _ in store.objects.list("log")):
        raise CommandError(
            f"{store.url} has a log: a backup is restored into a workspace whose store is empty; "
            "name another with --workspace, or move that store away"
        )


def _add_tombstones(
    workspace: Workspace, source: Objects, backup: Backup, erased: Path | None
) -> None:
    """Let the lake know whoever was erased: by the backup, and by the file."""
    for path, sha256 in backup.files.items():
        if path.startswith("tombstones/"):
            workspace.lake.storage.objects.put_if_absent(path, blob(source, sha256))
    if erased is not None and erased.read_bytes().strip():
        workspace.lake.tombstones().add(users_named([], erased))


def _fetch(source: Objects, backup: Backup, staged: Path) -> None:
    """Write what the backup has of the store below ``staged``, each file proven."""
    for path, sha256 in backup.files.items():
        if path.startswith("store/"):
            target = staged / checked_key(path)
            if not target.exists() or digest_file(target) != sha256:
                replace_file(target, blob(source, sha256))


def _bring_consumers(root: Path, source: Objects, backup: Backup) -> None:
    """Write what consumers rely on, but for files that stand here already."""
    for path, sha256 in backup.files.items():
        target = root / checked_key(path)
        if path.startswith(f"{CONSUMERS}/") and not target.exists():
            replace_file(target, blob(source, sha256))


def _erase(store: EmbeddingStore, workspace: Workspace) -> None:
    """Take out whoever was erased after the backup was made."""
    Publisher(store, by="restore").erase(
        workspace.lake.tombstones(),
        effective_at=datetime.now(UTC),
        why="erased after the backup that was restored",
    )


def _install(staged: EmbeddingStore, store: EmbeddingStore) -> None:
    """Copy the staged store, the log last: until then it says that nothing was published."""
    log = {key: staged.objects.get(key) for key in staged.objects.list("log")}
    for key in list(store.objects.list("log-checkpoints")):  # of the log that was lost
        store.objects.delete(key)
    for digest in staged.stored_versions():
        if not store.has_version(digest):
            with store.staged_version() as folder:
                shutil.copytree(staged.version_folder(digest), folder, dirs_exist_ok=True)
                store.commit_version(folder, digest)
    for key in staged.objects.list("gates"):
        store.objects.put_if_absent(key, staged.objects.get(key))
    for path in sorted((staged.root / "history").rglob("*.parquet")):
        replace_file(store.root / path.relative_to(staged.root), path.read_bytes())
    for key, data in log.items():
        if not store.objects.put_if_absent(key, data) and store.objects.get(key) != data:
            raise CommandError(
                f"{store.url}/{key} is another entry than the backup's: somebody published "
                "meanwhile; move that store away and restore again"
            )
