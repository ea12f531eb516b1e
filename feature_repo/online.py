"""Online rows of one version: written in bulk, read back, repaired.

Every version has tables of its own, so nothing that is served is ever changed. Rows go through
Feast's own ``online_write_batch``, one transaction per parquet part; writing a part again changes
nothing.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from feast import FeatureStore, FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import FloatList, Value

from embedding_store.contracts import EMBEDDING, ID_COLUMNS, Float32, Side, strings
from feature_repo.errors import OnlineRowsError
from feature_repo.folder import PROJECT, FeastFolder
from feature_repo.served import ServedVersion
from lake.hashing import keyed_hash

SAMPLE_ROWS = 64
"""Rows per side that are read back and compared bit by bit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineRows:
    """The online rows of one side of one version, behind its view."""

    folder: FeastFolder
    store: FeatureStore
    version: ServedVersion
    side: Side
    view: FeatureView

    def complete(self) -> int:
        """Write the rows unless they are there, and read them back; return how many were written.

        Raises OnlineRowsError when they do not read back as published, and CorruptVersionError,
        with nothing written, when a file of either side is damaged.
        """
        if self._fault(num_parts=1) is None:
            return 0
        self.version.files.verify()
        self._create_table()
        written = self._write()
        if self._count() != written:
            self.remove_others()
        self.check()
        return written

    def check(self) -> None:
        """Raise OnlineRowsError unless the version's rows are there: their number, and a sample."""
        fault = self._fault()
        if fault is not None:
            raise OnlineRowsError(f"{self.view.name}: {fault}: run `marquee reconcile`")

    def _fault(self, *, num_parts: int | None = None) -> str | None:
        want, got = self.version.manifest.rows(self.side), self._count()
        if got != want:
            return f"want {want} online rows, got {'no table' if got is None else got}"
        ids, vectors = sample_rows(self.version, self.side, num_parts=num_parts)
        read = self.store.provider.online_read(
            self.store.config, self.view, [self._key(one) for one in ids], [EMBEDDING, "version"]
        )
        for one, vector, (_, values) in zip(ids, vectors, read, strict=True):
            if not values or not self._is_published(values, vector):
                name = f"user {keyed_hash(one)}" if self.side == "user" else f"item {one!r}"
                return f"{name} does not read back as published"
        return None

    def _is_published(self, values: dict[str, Value], vector: Float32) -> bool:
        got = np.asarray(values[EMBEDDING].float_list_val.val, dtype=np.float32)
        is_same = np.array_equal(got, vector)
        return is_same and values["version"].string_val == self.version.published.name

    def _create_table(self) -> None:
        """Create the table where it is missing; the registry does not change."""
        self.store.provider.update_infra(
            project=PROJECT,
            tables_to_delete=[],
            tables_to_keep=[self.view],
            entities_to_delete=[],
            entities_to_keep=[],
            partial=True,
        )

    def _count(self) -> int | None:
        """Return how many entities have rows, or None without a table."""
        with closing(sqlite3.connect(self.folder.online)) as connection:
            try:
                # an entity has both features or none: Feast commits a part at once
                found = connection.execute(
                    f'SELECT count(*) FROM "{self._table}" WHERE feature_name = ?',  # noqa: S608
                    ("version",),
                ).fetchone()
            except sqlite3.OperationalError as error:
                if "no such table" not in str(error):
                    raise
                return None
        return int(found[0])

    def _write(self) -> int:
        as_of = datetime.fromisoformat(self.version.published.as_of)
        label = Value(string_val=self.version.published.name)
        written = 0
        for record in self.version.manifest.parts(self.side):
            shard = self.version.files.shard(record, self.side)
            rows: list[Any] = [
                (
                    self._key(one),
                    {EMBEDDING: Value(float_list_val=FloatList(val=vector)), "version": label},
                    as_of,
                    None,
                )
                for one, vector in zip(strings(shard.ids), shard.vectors.tolist(), strict=True)
            ]
            self.store.provider.online_write_batch(self.store.config, self.view, rows, None)
            written += len(rows)
        return written

    def remove_others(self) -> None:
        """Remove rows of entities that the version no longer holds.

        Erasing rewrites a version's files without the user. Feast cannot delete one entity's rows,
        so this is the one place that changes a table itself: by Feast's own key, in one step.
        Raises CorruptVersionError when a file is damaged.
        """
        if self._count() is None:
            return
        kept = {
            self._serialized(one)
            for record in self.version.manifest.parts(self.side)
            for one in strings(self.version.files.shard(record, self.side).ids)
        }
        with closing(sqlite3.connect(self.folder.online)) as connection, connection:
            held = connection.execute(f'SELECT DISTINCT entity_key FROM "{self._table}"')  # noqa: S608
            gone = [(key,) for (key,) in held if key not in kept]
            connection.executemany(
                f'DELETE FROM "{self._table}" WHERE entity_key = ?',  # noqa: S608
                gone,
            )

    @property
    def _table(self) -> str:
        return f"{PROJECT}_{self.view.name}"

    def _key(self, one: str) -> EntityKey:
        column = ID_COLUMNS[self.side]
        return EntityKey(join_keys=[column], entity_values=[Value(string_val=one)])

    def _serialized(self, one: str) -> bytes:
        version = self.store.config.entity_key_serialization_version
        return serialize_entity_key(self._key(one), entity_key_serialization_version=version)


def sample_rows(
    version: ServedVersion, side: Side, *, num_parts: int | None = None
) -> tuple[list[str], Float32]:
    """Return up to ``SAMPLE_ROWS`` ids and vectors, spread over the first ``num_parts`` parts."""
    records = [one for one in version.manifest.parts(side) if one.rows][:num_parts]
    per_part = -(-SAMPLE_ROWS // max(1, len(records)))
    picked: list[str] = []
    rows = [np.empty((0, version.manifest.dim), np.float32)]
    for record in records:
        shard = version.files.shard(record, side)
        step = max(1, record.rows // per_part)
        picked += strings(shard.ids)[::step][:per_part]
        rows.append(shard.vectors[::step][:per_part])
    return picked, np.concatenate(rows)
