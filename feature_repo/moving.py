"""Moving a workspace's online rows to another store.

::

    settings there? ─► configuration names the new store ─► reconcile: rows written and read back
                                                                └► the old rows are removed

Online rows are a projection of the log, so nothing is copied. Readers that were opened before go on
with the old rows until those are removed; from then on they must be opened again.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from embedding_store.contracts import ID_COLUMNS, Side
from feature_repo.folder import FeastFolder, OnlineKind
from feature_repo.projection import Reconciled, reconcile

if TYPE_CHECKING:
    from feature_repo.online_tables.table import OnlineTable


def move_online(workspace: Path, kind: OnlineKind, *, erasure_key: str = "") -> Reconciled:
    """Serve the workspace's embeddings from a store of ``kind``, and remove them where they were.

    Raises OnlineStoreError when the environment lacks a setting; whatever fails before the rows
    are read back from the new store leaves the old one in use.
    """
    folder = FeastFolder.of(workspace)
    folder.require_settings(kind)
    before = folder.online_kind()
    old_tables = registered_tables(folder) if before != kind and folder.registry.exists() else []
    if before != kind:
        folder.erasures.unlink(missing_ok=True)  # said of the old store
    folder.prepare(kind)
    try:
        report = reconcile(workspace, erasure_key=erasure_key)
    except BaseException:
        folder.prepare(before)
        raise
    for table in old_tables:
        table.keep_only(set())
    if kind != "sqlite":
        for path in folder.path.glob(f"{folder.online.name}*"):
            path.unlink()
    return report


def registered_tables(folder: FeastFolder) -> "list[OnlineTable]":
    """Return the online rows of every view that the registry has."""
    from feature_repo.apply import registered_views
    from feature_repo.online_tables.layout import layout_of
    from feature_repo.online_tables.opening import open_table
    from feature_repo.registry import open_for_reading

    store = open_for_reading(folder)
    found = []
    for name, view in registered_views(store).items():
        side: Side = "user" if view.join_keys == [ID_COLUMNS["user"]] else "item"
        found.append(open_table(store, name, layout_of(side, view.tags)))
    return found
