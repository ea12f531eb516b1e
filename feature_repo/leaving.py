"""The online stores that a workspace has left: noted before it moves, emptied after.

The note is there before the configuration changes and goes when the rows are gone, so whoever is
killed in between leaves word of where rows still lie.
"""

from collections.abc import Collection
from typing import cast

from embedding_store.contracts import ID_COLUMNS, Side
from feature_repo.apply import registered_views
from feature_repo.folder import FeastFolder, OnlineKind
from feature_repo.online_tables.layout import layout_of
from feature_repo.online_tables.opening import forget_retired, open_table
from feature_repo.online_tables.owner import release
from feature_repo.online_tables.table import OnlineTable
from feature_repo.registry import open_for_reading
from lake.atomic import replace_file


def note_left(folder: FeastFolder, kinds: Collection[OnlineKind]) -> None:
    """Note in which stores, other than the one in use, rows may still lie."""
    if kinds:
        replace_file(folder.left, "\n".join(sorted(kinds)).encode())
    else:
        folder.left.unlink(missing_ok=True)


def left(folder: FeastFolder) -> set[OnlineKind]:
    """Return the stores that may still have rows of the workspace, though it uses another."""
    if not folder.left.exists():
        return set()
    return cast("set[OnlineKind]", set(folder.left.read_text().split()))


def empty_left(folder: FeastFolder) -> None:
    """Remove the workspace's rows wherever it has left some; raises what a server answers."""
    servers = []
    for kind in sorted(left(folder) - {folder.online_kind()}):  # which may be edited by hand
        if kind == "sqlite":
            for path in folder.path.glob(f"{folder.online.name}*"):
                path.unlink()
            continue
        servers.append(open_for_reading(folder, kind))
        for table in registered_tables(folder, kind):
            if table.count() is not None:
                table.keep_only(set())
        forget_retired(servers[-1], set())
    note_left(folder, ())  # first: a store that is released may be another's at once
    for store in servers:
        release(store)


def registered_tables(folder: FeastFolder, kind: OnlineKind | None = None) -> list[OnlineTable]:
    """Return the online rows of every view that the registry has, by default where it reads."""
    store = open_for_reading(folder, kind)
    found = []
    for name, view in registered_views(store).items():
        side: Side = "user" if view.join_keys == [ID_COLUMNS["user"]] else "item"
        found.append(open_table(store, name, layout_of(side, view.tags)))
    return found
