"""Online rows in Feast's SQLite store: one file, one table per view."""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from functools import cached_property
from pathlib import Path

from feature_repo.errors import NoTableError
from feature_repo.online_tables.layout import RowLayout
from feature_repo.online_tables.table import FEATURES, VERSION

_IDS_AT_ONCE = 10_000
"""Keys in one SELECT; SQLite takes 32,766 parameters since 3.32."""
_NO_TABLE = "no such table"


@dataclass(frozen=True)
class SqliteTable:
    """One table of ``path``, as Feast 0.67 makes it (``online_stores/sqlite.py``)."""

    path: Path
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
        return int(found[0])

    def write(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Write one part in one transaction."""
        # Feast writes the UTC clock as if it were local, and reads it back the same way
        at = int(self.layout.as_of.astimezone(UTC).replace(tzinfo=None).timestamp())
        embedding, version = FEATURES
        label, text = self.layout.label, self.layout.version
        rows: Iterator[tuple[bytes, str, bytes, str | None, int]] = (
            row
            for key, value in zip(keys, values, strict=True)
            for row in ((key, embedding, value, None, at), (key, version, label, text, at))
        )
        with self._connection as connection:
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
        with self._connection as connection:
            held = connection.execute(f'SELECT DISTINCT entity_key FROM "{self.name}"')  # noqa: S608
            gone = [(key,) for (key,) in held if key not in keys]
            connection.executemany(f'DELETE FROM "{self.name}" WHERE entity_key = ?', gone)  # noqa: S608
        return len(gone)

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
