"""Moving a workspace's online rows to another store, or its registry.

::

    settings there? ─► configuration names the new store ─► reconcile: rows written and read back
                                                                └► the old rows are removed

The store that is left is noted first (``leaving``), so a move that was killed is finished by the
same call. Online rows are a projection of the log, so nothing is copied. Readers that were opened
before go on with the old rows until those are removed; from then on they must be opened again.
"""

from contextlib import ExitStack
from pathlib import Path

from feature_repo.folder import FeastFolder, OnlineKind, RegistryKind
from feature_repo.projection import Reconciled, reconcile


def move_online(workspace: Path, kind: OnlineKind, *, erasure_key: str = "") -> Reconciled:
    """Serve the workspace's embeddings from a store of ``kind``, and remove them where they were.

    Raises OnlineStoreError when the environment lacks a setting; whatever fails before the rows
    are read back from the new store leaves the old one in use.
    """
    folder = FeastFolder.of(workspace)
    from feature_repo.leaving import empty_left, left, note_left

    folder.require_settings(kind)
    before, noted = folder.online_kind(), left(folder)
    if before != kind:
        note_left(folder, (noted | {before}) - {kind})
        folder.erasures.unlink(missing_ok=True)  # said of the old store
    folder.prepare(kind)
    with ExitStack() as going_back:  # also when somebody interrupts; last things first
        going_back.callback(note_left, folder, noted)
        going_back.callback(folder.prepare, before)
        report = reconcile(workspace, erasure_key=erasure_key)
        going_back.pop_all()
    empty_left(folder)
    return report


def move_registry(workspace: Path, kind: RegistryKind, *, erasure_key: str = "") -> Reconciled:
    """Keep the workspace's registry as ``kind``, made from the log.

    Raises OnlineStoreError when the environment lacks the database; whatever fails leaves the old
    one in use. A file that is left is removed, a database keeps what it showed last.
    """
    folder = FeastFolder.of(workspace)
    folder.require_settings(registry=kind)
    before = folder.registry_kind()
    folder.prepare(registry=kind)
    with ExitStack() as going_back:
        going_back.callback(folder.prepare, registry=before)
        report = reconcile(workspace, erasure_key=erasure_key)
        going_back.pop_all()
    if kind == "sql":
        folder.registry.unlink(missing_ok=True)
    return report
