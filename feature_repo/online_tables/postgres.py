"""Online rows in Feast's PostgreSQL store: one table per view."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import LiteralString

from psycopg import Connection, sql
from psycopg.errors import UndefinedTable

from feature_repo.errors import NoTableError
from feature_repo.online_tables.layout import RowLayout
from feature_repo.online_tables.table import FEATURES, VERSION

_COLUMNS = ("entity_key", "feature_name", "value", "value_text", "event_ts")
_TYPES = ("bytea", "text", "bytea", "text", "timestamptz")


@dataclass(frozen=True)
class PostgresTable:
    """One table, as Feast 0.67 makes it (``online_stores/postgres_online_store``)."""

    connect: Callable[[], AbstractContextManager["Connection[tuple[object, ...]]"]]
    """Lends Feast's own connection, in autocommit mode."""
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
        return int(str(found[0]))

    def write(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Write one part in one transaction: copied beside the table, then taken in."""
        at, (embedding, version) = self.layout.as_of, FEATURES
        label, text = self.layout.label, self.layout.version
        with self.connect() as lent, lent.transaction(), lent.cursor() as cursor:
            cursor.execute(self._sql("CREATE TEMP TABLE arriving (LIKE {table}) ON COMMIT DROP"))
            with cursor.copy(
                self._sql("COPY arriving ({columns}) FROM STDIN (FORMAT binary)")
            ) as copy:
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
            return cursor.rowcount // len(FEATURES)

    def _sql(self, text: LiteralString) -> sql.Composed:
        columns = sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
        return sql.SQL(text).format(table=sql.Identifier(self.name), columns=columns)
