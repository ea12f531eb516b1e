"""Online rows of one version: written in bulk, read back, dropped.

Every version has tables of its own, so nothing that is served is ever written to. Rows go through
Feast's own ``online_write_batch``, one transaction per parquet part; writing a part again changes
nothing.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

import numpy as np
from feast import FeatureStore, FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import FloatList, Value

from embedding_store.contracts import EMBEDDING, ID_COLUMNS, Float32, Side
from feature_repo.errors import OnlineRowsError
from feature_repo.folder import PROJECT, FeastFolder
from feature_repo.served import ServedVersion
from lake.hashing import keyed_hash

SAMPLE_ROWS = 64
"""Rows per side that are read back and compared bit by bit."""


def create_tables(store: FeatureStore, views: Sequence[FeatureView]) -> None:
    """Create the views' tables where they are missing; the registry does not change."""
    store.provider.update_infra(
        project=PROJECT,
        tables_to_delete=[],
        tables_to_keep=list(views),
        entities_to_delete=[],
        entities_to_keep=[],
        partial=True,
    )


def count_rows(folder: FeastFolder, view: str) -> int | None:
    """Return how many entities have rows in the view's table, or None without a table."""
    with closing(sqlite3.connect(folder.online)) as connection:
        try:
            # an entity has both features or none: Feast commits a part at once
            found = connection.execute(
                f'SELECT count(*) FROM "{_table(view)}" WHERE feature_name = ?',  # noqa: S608
                ("version",),
            ).fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            return None
    return int(found[0])


def write_rows(store: FeatureStore, view: FeatureView, version: ServedVersion, side: Side) -> int:
    """Write every row of the version's side to the view's own table; return how many."""
    as_of = datetime.fromisoformat(version.published.as_of)
    label = Value(string_val=version.published.name)
    provider = store.provider
    written = 0
    for ids, vectors in _parts(version, side):
        rows = [
            (
                _key(side, one),
                {EMBEDDING: Value(float_list_val=FloatList(val=vector)), "version": label},
                as_of,
                None,
            )
            for one, vector in zip(ids, vectors.tolist(), strict=True)
        ]
        provider.online_write_batch(store.config, view, rows, None)
        written += len(rows)
    return written


def remove_others(
    folder: FeastFolder, store: FeatureStore, version: ServedVersion, side: Side
) -> int:
    """Remove online rows of entities that the version no longer holds; return how many.

    Erasing rewrites a version's files without the user. Feast cannot delete one entity's rows, so
    this is the one place that touches the table: by Feast's own key, in one transaction.
    """
    table = _table(version.view(side))
    kept = {_serialized(store, side, one) for ids, _ in _parts(version, side) for one in ids}
    with closing(sqlite3.connect(folder.online)) as connection, connection:
        held = connection.execute(f'SELECT DISTINCT entity_key FROM "{table}"')  # noqa: S608
        gone = [(key,) for (key,) in held if key not in kept]
        connection.executemany(f'DELETE FROM "{table}" WHERE entity_key = ?', gone)  # noqa: S608
    return len(gone)


def check_rows(
    folder: FeastFolder,
    store: FeatureStore,
    view: FeatureView,
    version: ServedVersion,
    side: Side,
    num_parts: int | None = None,
) -> None:
    """Raise OnlineRowsError unless the table has the version's rows: their number, and a sample.

    ``num_parts`` bounds the parts that the sample is of; None means all.
    """
    want, got = version.manifest.rows(side), count_rows(folder, view.name)
    if got != want:
        raise OnlineRowsError(f"{view.name}: want {want} online rows, got {got}")
    ids, vectors = sample_rows(version, side, num_parts=num_parts)
    if not ids:
        return
    read = store.provider.online_read(
        store.config, view, [_key(side, one) for one in ids], [EMBEDDING, "version"]
    )
    for one, vector, (_, values) in zip(ids, vectors, read, strict=True):
        got_vector = np.asarray(values[EMBEDDING].float_list_val.val if values else [], np.float32)
        if (
            not values
            or values["version"].string_val != version.published.name
            or not np.array_equal(got_vector, vector)
        ):
            name = f"user {keyed_hash(one)}" if side == "user" else f"item {one!r}"
            raise OnlineRowsError(f"{view.name}: {name} does not read back as published")


def sample_rows(
    version: ServedVersion, side: Side, *, num_parts: int | None = None
) -> tuple[list[str], Float32]:
    """Return up to ``SAMPLE_ROWS`` rows spread over parts with rows: ids and vectors."""
    records = [one for one in version.manifest.parts(side) if one.rows][:num_parts]
    per_part = -(-SAMPLE_ROWS // max(1, len(records)))
    picked: list[str] = []
    rows = [np.empty((0, version.manifest.dim), np.float32)]
    for record in records:
        shard = version.files.shard(record, side)
        step = max(1, record.rows // per_part)
        picked += shard.ids[::step].to_pylist()[:per_part]
        rows.append(shard.vectors[::step][:per_part])
    return picked, np.concatenate(rows)


def _parts(version: ServedVersion, side: Side) -> Iterator[tuple[list[str], Float32]]:
    for record in version.manifest.parts(side):
        shard = version.files.shard(record, side)
        yield shard.ids.to_pylist(), shard.vectors


def _key(side: Side, one: str) -> Any:
    return EntityKey(join_keys=[ID_COLUMNS[side]], entity_values=[Value(string_val=one)])


def _serialized(store: FeatureStore, side: Side, one: str) -> bytes:
    version = store.config.entity_key_serialization_version
    return bytes(serialize_entity_key(_key(side, one), entity_key_serialization_version=version))


def _table(view: str) -> str:
    return f"{PROJECT}_{view}"
