"""Online rows of one version: written in bulk, read back, repaired.

Every version has rows of its own, so nothing that is served is ever changed but by a push
(``push``), which is noted beside the rows. They are written in Feast's layout by ``online_tables``
and read back through Feast itself; writing them again changes nothing.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from feast import FeatureStore, FeatureView
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from embedding_store.contracts import EMBEDDING, ID_COLUMNS, Float32, Side, strings
from feature_repo.errors import OnlineRowsError
from feature_repo.folder import PROJECT
from feature_repo.online_tables.layout import RowLayout, layout_of
from feature_repo.online_tables.opening import open_table
from feature_repo.online_tables.table import OnlineTable
from feature_repo.served import ServedVersion
from lake.hashing import keyed_hash

logger = logging.getLogger(__name__)

SAMPLE_ROWS = 1_000
"""Rows per side that are read back and compared bit by bit, before an alias means the version."""
PROBE_ROWS = 64
"""Rows of the first part that are, each time, of a version that was proven and served before."""


@dataclass(frozen=True, kw_only=True)
class OnlineRows:
    """The online rows of one side of one version, behind its view."""

    store: FeatureStore
    version: ServedVersion
    side: Side
    view: FeatureView

    def complete(self, *, was_served: bool = False) -> int:
        """Write the rows unless they are there, and read them back; return how many were written.

        A version that ``was_served`` is only probed: it was read back before it was.

        Raises OnlineRowsError when they do not read back as published, and CorruptVersionError,
        with nothing written, when a file of either side is damaged.
        """
        if self._fault(is_probe=was_served) is None:
            return 0
        self.version.files.verify()
        held = self._table.count()
        self._create_table()
        written = self._write()
        if held:
            self.remove_others()
        self._table.seal(written)
        logger.info("step rows-written: %s", self.view.name)
        self.check()
        logger.info("step rows-read-back: %s", self.view.name)
        return written

    def check(self) -> None:
        """Raise OnlineRowsError unless the version's rows are there: their number, and a sample."""
        fault = self._fault()
        if fault is not None:
            raise OnlineRowsError(f"{self.view.name}: {fault}: run `marquee reconcile`")

    def _fault(self, *, is_probe: bool = False) -> str | None:
        want, got = self.version.manifest.rows(self.side), self._table.count()
        if got != want:
            return f"want {want} online rows, got {'no table' if got is None else got}"
        pushed = self._table.pushed()
        read_back = self._table.read([*pushed]) if pushed else []
        label = self._layout.label
        if any(
            row != (value, label) for row, value in zip(read_back, pushed.values(), strict=True)
        ):
            return "what was pushed does not read back"
        ids, vectors = sample_rows(self.version, self.side, is_probe=is_probe)
        vectors = self.over(ids, vectors)
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

    def _write(self) -> int:
        written, pushed = 0, self._table.pushed()
        for record in self.version.manifest.parts(self.side):
            shard = self.version.files.shard(record, self.side)
            keys = self._layout.keys(strings(shard.ids))
            self._table.write(keys, self._layout.values(shard.vectors))
            written += len(keys)
            if own := [key for key in keys if key in pushed]:
                self._table.own(own)
        if pushed:
            self._table.write([*pushed], [*pushed.values()])
        return written

    def over(self, ids: Sequence[str], vectors: Float32) -> Float32:
        """Return a version's vectors of ids with what was pushed over them."""
        if not (pushed := self._table.pushed()):
            return vectors
        keys = self._layout.keys(ids)
        rows = [row for row, key in enumerate(keys) if key in pushed]
        answer = vectors.copy()
        answer[rows] = self._layout.vectors([pushed[keys[row]] for row in rows])
        return answer

    def remove_others(self, erased: Callable[[list[str]], Collection[str]] = lambda _: ()) -> None:
        """Remove rows of entities that the version no longer holds, as after an erasure.

        What was pushed stays, but for those of its entities that are ``erased``. Raises
        CorruptVersionError when a file is damaged.
        """
        held = self._table.count()
        if held is None:
            return
        kept = {
            key
            for record in self.version.manifest.parts(self.side)
            for key in self._layout.keys(strings(self.version.files.shard(record, self.side).ids))
        }
        pushed = self._layout.ids(self._table.pushed())
        gone = set(erased(pushed)) if pushed else set()
        kept.update(self._layout.keys([one for one in pushed if one not in gone]))
        removed = self._table.keep_only(kept)
        if held > 0:
            self._table.seal(held - removed)

    @cached_property
    def _layout(self) -> RowLayout:
        return layout_of(self.side, self.view.tags)

    @cached_property
    def _table(self) -> OnlineTable:
        return open_table(self.store, self.view.name, self._layout)

    def _key(self, one: str) -> EntityKey:
        column = ID_COLUMNS[self.side]
        return EntityKey(join_keys=[column], entity_values=[Value(string_val=one)])


def sample_rows(
    version: ServedVersion, side: Side, *, is_probe: bool = False
) -> tuple[list[str], Float32]:
    """Return up to ``SAMPLE_ROWS`` ids and vectors of all parts, or a probe of the first.

    Half of them are spread evenly over the rows; the others are drawn by the version's digest, so
    no two versions leave the same rows unread.
    """
    records = [one for one in version.manifest.parts(side) if one.rows][: 1 if is_probe else None]
    ends = np.cumsum([one.rows for one in records], dtype=np.int64)
    picked = _picked_rows(
        int(ends[-1]) if records else 0,
        PROBE_ROWS if is_probe else SAMPLE_ROWS,
        seed=int(version.published.digest[:16], 16),
    )
    ids: list[str] = []
    vectors = [np.empty((0, version.manifest.dim), np.float32)]
    for record, end in zip(records, ends, strict=True):
        start = end - record.rows
        rows = picked[(picked >= start) & (picked < end)] - start
        if rows.size:
            shard = version.files.shard(record, side)
            ids += strings(shard.ids.take(pa.array(rows)))
            vectors.append(shard.vectors[rows])
    return ids, np.concatenate(vectors)


def _picked_rows(num_rows: int, wanted: int, *, seed: int) -> npt.NDArray[np.int64]:
    """Return the numbers of ``wanted`` rows, or of all where there are no more, in order."""
    if num_rows <= wanted:
        return np.arange(num_rows)
    is_picked = np.zeros(num_rows, dtype=bool)
    is_picked[np.arange(wanted // 2) * num_rows // (wanted // 2)] = True
    others = np.flatnonzero(~is_picked)
    draw = np.random.default_rng(seed)
    is_picked[draw.choice(others, wanted - wanted // 2, replace=False)] = True
    return np.flatnonzero(is_picked)
