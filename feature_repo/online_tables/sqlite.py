"""Online rows in Feast's SQLite store: one file, one table per view."""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC
from functools import cached_property
from pathlib import Path

from feature_repo.errors import NoTableError
from feature_repo.online_tables.layout import RowLayout
from feature_repo.online_tables.table import FEATURES, PUSHED, VERSION

_IDS_AT_ONCE = 10_000
"""Keys in one SELECT; SQLite takes 32,766 parameters since 3.32."""
_NO_TABLE = "no such table"


@dataclass(frozen=True)
class SqliteTable:
    """One table of ``path``, as Feast 0.67 makes it (``online_stores/sqlite.py``)."""

    path: Path
    view: str
    name: str
    layout: RowLayout

    def count(self) -> int | None:
        """Return how many entities have rows, or None without a table."""
        try:
            # an entity has both features or none: a part is written in one transaction
            found = self._connection.execute(
                f'SELECT count(*) FROM "{self.name}" WHERE feature_name = ?',  # noqa: S608
                (VERSION,),
            ).fetchone()
        except sqlite3.OperationalError as error:
            if _NO_TABLE not in str(error):
                raise
            return None
        return int(found[0]) - sum(is_new for _, is_new in self._notes().values())

    def write(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Write one part in one transaction."""
        with self._connection as connection:
            self._write(connection, keys, values)

    def _write(
        self, connection: sqlite3.Connection, keys: Sequence[bytes], values: Sequence[bytes]
    ) -> None:
        # Feast writes the UTC clock as if it were local, and reads it back the same way
        at = int(self.layout.as_of.astimezone(UTC).replace(tzinfo=None).timestamp())
        embedding, version = FEATURES
        label, text = self.layout.label, self.layout.version
        rows: Iterator[tuple[bytes, str, bytes, str | None, int]] = (
            row
            for key, value in zip(keys, values, strict=True)
            for row in ((key, embedding, value, None, at), (key, version, label, text, at))
        )
        connection.executemany(
            f'INSERT INTO "{self.name}" (entity_key, feature_name, value, value_text, event_ts)'  # noqa: S608
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT (entity_key, feature_name) DO UPDATE SET"
            " value = excluded.value, value_text = excluded.value_text,"
            " event_ts = excluded.event_ts, created_ts = NULL",
            rows,
        )

    def seal(self, num_rows: int) -> None:
        """Do nothing: the table counts itself."""

    def read(self, keys: Sequence[bytes]) -> list[tuple[bytes, bytes] | None]:
        """Return embedding and version of each key, or None where the key has no row."""
        found: dict[str, dict[bytes, bytes]] = {feature: {} for feature in FEATURES}
        asked = list(dict.fromkeys(keys))
        for start in range(0, len(asked), _IDS_AT_ONCE):
            for key, feature, value in self._select(asked[start : start + _IDS_AT_ONCE]):
                found[feature][key] = value
        embeddings, versions = found.values()
        return [(embeddings[key], versions[key]) if key in embeddings else None for key in keys]

    def keep_only(self, keys: Collection[bytes]) -> int:
        """Remove all rows but these, in one step."""
        notes = {key: is_new for key, (_, is_new) in self._notes().items() if key not in keys}
        with self._connection as connection:
            if notes:
                connection.executemany(
                    f"DELETE FROM {PUSHED} WHERE view = ? AND entity_key = ?",  # noqa: S608
                    [(self.view, key) for key in notes],
                )
            held = connection.execute(f'SELECT DISTINCT entity_key FROM "{self.name}"')  # noqa: S608
            gone = [(key,) for (key,) in held if key not in keys]
            connection.executemany(f'DELETE FROM "{self.name}" WHERE entity_key = ?', gone)  # noqa: S608
        return len(gone) - sum(notes.values())

    def push(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Write and note rows in one transaction."""
        with self._connection as connection:
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {PUSHED} (view TEXT, entity_key BLOB, value BLOB, "
                "is_new INT, PRIMARY KEY (view, entity_key))"
            )
            connection.executemany(
                f"INSERT INTO {PUSHED} VALUES (:view, :key, :value, NOT EXISTS "  # noqa: S608
                f'(SELECT 1 FROM "{self.name}" WHERE entity_key = :key)) '
                "ON CONFLICT (view, entity_key) DO UPDATE SET value = excluded.value",
                [
                    {"view": self.view, "key": key, "value": value}
                    for key, value in zip(keys, values, strict=True)
                ],
            )
            self._write(connection, keys, values)

    def own(self, keys: Sequence[bytes]) -> None:
        """Note of pushed entities that the version has them too."""
        with self._connection as connection:
            connection.executemany(
                f"UPDATE {PUSHED} SET is_new = 0 WHERE view = ? AND entity_key = ?",  # noqa: S608
                [(self.view, key) for key in keys],
            )

    def pushed(self) -> dict[bytes, bytes]:
        """Return the value of every entity that was pushed, by key."""
        return {key: value for key, (value, _) in self._notes().items()}

    def _notes(self) -> dict[bytes, tuple[bytes, bool]]:
        """Return value of pushed entities, and whether the version has no such entity."""
        if not has_notes(self._connection):
            return {}
        found = self._connection.execute(
            f"SELECT entity_key, value, is_new FROM {PUSHED} WHERE view = ?",  # noqa: S608
            (self.view,),
        )
        return {key: (value, bool(is_new)) for key, value, is_new in found}

    def _select(self, keys: Sequence[bytes]) -> list[tuple[bytes, str, bytes]]:
        try:
            return self._connection.execute(
                f'SELECT entity_key, feature_name, value FROM "{self.name}" '  # noqa: S608
                f"WHERE entity_key IN ({','.join('?' * len(keys))})",
                keys,
            ).fetchall()
        except sqlite3.OperationalError as error:
            if _NO_TABLE not in str(error):
                raise
            raise NoTableError(self.name) from error

    @cached_property
    def _connection(self) -> sqlite3.Connection:
        # threads may share it: Python's SQLite is built to serialise its calls
        return sqlite3.connect(self.path, check_same_thread=False)


def has_notes(connection: sqlite3.Connection) -> bool:
    """Return whether anything was ever pushed."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(query, (PUSHED,)).fetchone() is not None


def forget_pushed(path: Path, live: Collection[str]) -> None:
    """Remove what is noted of pushes into all views but these."""
    with closing(sqlite3.connect(path)) as connection:
        if not has_notes(connection):
            return
        with connection:
            held = connection.execute(f"SELECT DISTINCT view FROM {PUSHED}").fetchall()  # noqa: S608
            gone = [(view,) for (view,) in held if view not in live]
            connection.executemany(f"DELETE FROM {PUSHED} WHERE view = ?", gone)  # noqa: S608
