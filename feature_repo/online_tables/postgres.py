"""Online rows in Feast's PostgreSQL store: one table per view."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import LiteralString

from psycopg import Connection, Cursor, sql
from psycopg.errors import UndefinedTable

from feature_repo.errors import NoTableError
from feature_repo.online_tables.layout import RowLayout
from feature_repo.online_tables.table import FEATURES, PUSHED, VERSION

_COLUMNS = ("entity_key", "feature_name", "value", "value_text", "event_ts")
_TYPES = ("bytea", "text", "bytea", "text", "timestamptz")


@dataclass(frozen=True)
class PostgresTable:
    """One table, as Feast 0.67 makes it (``online_stores/postgres_online_store``)."""

    connect: Callable[[], AbstractContextManager["Connection[tuple[object, ...]]"]]
    """Lends Feast's own connection, in autocommit mode."""
    view: str
    name: str
    layout: RowLayout

    def count(self) -> int | None:
        """Return how many entities have rows, or None without a table."""
        query = self._sql("SELECT count(*) FROM {table} WHERE feature_name = %s")
        try:
            with self.connect() as connection:
                found = connection.execute(query, (VERSION,)).fetchone()
        except UndefinedTable:
            return None
        assert found is not None
        return int(str(found[0])) - sum(is_new for _, is_new in self._notes().values())

    def write(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Write one part in one transaction: copied beside the table, then taken in."""
        with self.connect() as lent, lent.transaction(), lent.cursor() as cursor:
            self._write(cursor, keys, values)

    def _write(
        self,
        cursor: "Cursor[tuple[object, ...]]",
        keys: Sequence[bytes],
        values: Sequence[bytes],
    ) -> None:
        at, (embedding, version) = self.layout.as_of, FEATURES
        label, text = self.layout.label, self.layout.version
        cursor.execute(self._sql("CREATE TEMP TABLE arriving (LIKE {table}) ON COMMIT DROP"))
        with cursor.copy(self._sql("COPY arriving ({columns}) FROM STDIN (FORMAT binary)")) as copy:
            copy.set_types(_TYPES)
            for key, value in zip(keys, values, strict=True):
                copy.write_row((key, embedding, value, None, at))
                copy.write_row((key, version, label, text, at))
        cursor.execute(
            self._sql(
                "INSERT INTO {table} ({columns}) SELECT {columns} FROM arriving "
                "ON CONFLICT (entity_key, feature_name) DO UPDATE SET value = EXCLUDED.value, "
                "value_text = EXCLUDED.value_text, event_ts = EXCLUDED.event_ts, "
                "created_ts = NULL"
            )
        )

    def seal(self, num_rows: int) -> None:  # noqa: ARG002 - the protocol's
        """Let the planner know the table's size: without it, look-ups read the whole table."""
        with self.connect() as connection:
            connection.execute(self._sql("ANALYZE {table}"))

    def read(self, keys: Sequence[bytes]) -> list[tuple[bytes, bytes] | None]:
        """Return embedding and version of each key, or None where the key has no row."""
        query = self._sql(
            "SELECT entity_key, feature_name, value FROM {table} WHERE entity_key = ANY(%s)"
        )
        found: dict[str, dict[bytes, bytes]] = {feature: {} for feature in FEATURES}
        asked = list(dict.fromkeys(keys))
        try:
            with self.connect() as connection:
                rows = connection.execute(query, (asked,), binary=True).fetchall()
        except UndefinedTable as error:
            raise NoTableError(self.name) from error
        for key, feature, value in rows:
            assert isinstance(key, bytes)
            assert isinstance(value, bytes)
            found[str(feature)][key] = value
        embeddings, versions = found.values()
        return [(embeddings[key], versions[key]) if key in embeddings else None for key in keys]

    def keep_only(self, keys: Collection[bytes]) -> int:
        """Remove all rows but these, in one step."""
        notes = {key: is_new for key, (_, is_new) in self._notes().items() if key not in keys}
        with self.connect() as lent, lent.transaction(), lent.cursor() as cursor:
            cursor.execute("CREATE TEMP TABLE kept (entity_key bytea PRIMARY KEY) ON COMMIT DROP")
            with cursor.copy("COPY kept FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["bytea"])
                for key in keys:
                    copy.write_row((key,))
            cursor.execute(
                self._sql(
                    "DELETE FROM {table} AS held WHERE NOT EXISTS "
                    "(SELECT FROM kept WHERE kept.entity_key = held.entity_key)"
                )
            )
            num_gone = cursor.rowcount // len(FEATURES)
            if notes:
                cursor.execute(
                    _notes_sql("DELETE FROM {notes} WHERE view = %s AND entity_key = ANY(%s)"),
                    (self.view, list(notes)),
                )
        return num_gone - sum(notes.values())

    def push(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Write and note rows in one transaction."""
        with self.connect() as lent, lent.transaction(), lent.cursor() as cursor:
            cursor.execute(
                _notes_sql(
                    "CREATE TABLE IF NOT EXISTS {notes} (view text, entity_key bytea, value bytea, "
                    "is_new boolean, PRIMARY KEY (view, entity_key))"
                )
            )
            cursor.executemany(
                self._sql(
                    "INSERT INTO {notes} VALUES (%(view)s, %(key)s, %(value)s, NOT EXISTS "
                    "(SELECT FROM {table} WHERE entity_key = %(key)s)) "
                    "ON CONFLICT (view, entity_key) DO UPDATE SET value = EXCLUDED.value"
                ),
                [
                    {"view": self.view, "key": key, "value": value}
                    for key, value in zip(keys, values, strict=True)
                ],
            )
            self._write(cursor, keys, values)

    def own(self, keys: Sequence[bytes]) -> None:
        """Note of pushed entities that the version has them too."""
        query = "UPDATE {notes} SET is_new = false WHERE view = %s AND entity_key = ANY(%s)"
        with self.connect() as connection:
            connection.execute(_notes_sql(query), (self.view, list(keys)))

    def pushed(self) -> dict[bytes, bytes]:
        """Return the value of every entity that was pushed, by key."""
        return {key: value for key, (value, _) in self._notes().items()}

    def _notes(self) -> dict[bytes, tuple[bytes, bool]]:
        """Return value of pushed entities, and whether the version has no such entity."""
        query = _notes_sql("SELECT entity_key, value, is_new FROM {notes} WHERE view = %s")
        notes: dict[bytes, tuple[bytes, bool]] = {}
        with self.connect() as connection:
            if not _has_notes(connection):
                return notes
            rows = connection.execute(query, (self.view,), binary=True).fetchall()
        for key, value, is_new in rows:
            assert isinstance(key, bytes)
            assert isinstance(value, bytes)
            notes[key] = (value, bool(is_new))
        return notes

    def _sql(self, text: LiteralString) -> sql.Composed:
        columns = sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
        return sql.SQL(text).format(
            table=sql.Identifier(self.name), columns=columns, notes=sql.Identifier(PUSHED)
        )


def forget_pushed(connection: "Connection[tuple[object, ...]]", live: Collection[str]) -> None:
    """Remove what is noted of pushes into all views but these."""
    if _has_notes(connection):
        query = _notes_sql("DELETE FROM {notes} WHERE NOT view = ANY(%s)")
        connection.execute(query, (list(live),))


def _has_notes(connection: "Connection[tuple[object, ...]]") -> bool:
    found = connection.execute("SELECT to_regclass(%s)::text", (PUSHED,)).fetchone()
    return found is not None and found[0] is not None


def _notes_sql(text: LiteralString) -> sql.Composed:
    return sql.SQL(text).format(notes=sql.Identifier(PUSHED))
