"""What an online store keeps of rows that are gone.

SQLite keeps nothing, once an erasure went through it.

A deleted row stays readable in free pages, in the free space of pages, and in the write-ahead log.
So after an erasure the file is written anew and the log is emptied; the header's ``user_version``
says after which erasure that was done last, so whoever is killed before does it again.
Snapshots, logs and dead rows of a server are the server's (docs/erasure-and-retention.md): of those
only the number of the last erasure is noted, in a file.
"""

import sqlite3
from collections.abc import Collection
from contextlib import closing

from embedding_store.contracts import SIDES
from feature_repo.errors import OnlineRowsError
from feature_repo.folder import PROJECT, FeastFolder
from lake.atomic import replace_file

_READERS_TIMEOUT_S = 30.0
"""How long readers may hold the old pages; a look-up takes milliseconds."""


def is_due(folder: FeastFolder, num_erasures: int) -> bool:
    """Return whether the log has had an erasure since the file was written anew."""
    if folder.online_kind() != "sqlite":
        noted = folder.erasures
        return (int(noted.read_text()) if noted.exists() else 0) != num_erasures
    with closing(sqlite3.connect(folder.online)) as connection:
        done = connection.execute("PRAGMA user_version").fetchone()[0]
    return int(done) != num_erasures


def forget(folder: FeastFolder, live: Collection[str], num_erasures: int) -> None:
    """Write the file anew, without tables of views that are not ``live`` and without traces.

    Readers are not blocked. Raises OnlineRowsError when one of them holds the old pages too long.
    """
    if folder.online_kind() != "sqlite":
        replace_file(folder.erasures, str(num_erasures).encode())
        return
    kept = {f"{PROJECT}_{view}" for view in live}
    with closing(sqlite3.connect(folder.online, timeout=_READERS_TIMEOUT_S)) as connection:
        connection.isolation_level = None  # VACUUM stands outside of transactions
        for side in SIDES:
            found = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB ?",
                (f"{PROJECT}_{side}_embedding__*",),
            ).fetchall()
            for (name,) in found:
                if name not in kept:
                    connection.execute(f'DROP TABLE "{name}"')
        connection.execute("VACUUM")
        is_busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if is_busy:
            raise OnlineRowsError(
                f"{folder.online} is read without a pause, so that what was erased stays in its "
                "write-ahead log: stop its readers and run `marquee reconcile`"
            )
        connection.execute(f"PRAGMA user_version = {num_erasures:d}")
