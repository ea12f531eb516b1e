"""The served history as a Feast offline store: point-in-time joins that lose nothing.

Feast's dask store drops rows that precede an id's history, drops all but one of equal rows, fails
when the ids that dask puts into one partition are all unknown, and joins every row with every
switch before it looks at the instants. This store answers each row in its place with the newest
row of its id at or before its instant, or with nulls, and reads the vectors of those rows alone.

A plug-in as Feast documents them ("Adding a new offline store"): ``registry.open_for_reading``
names it; ``feature_store.yaml`` keeps dask, so that plain Feast opens a workspace without us.
Removable when a store that Feast ships keeps every row and joins by instant (0.67 has none here).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureView, FileSource
from feast.infra.offline_stores.dask import (
    DaskOfflineStore,
    DaskOfflineStoreConfig,
    DaskRetrievalJob,
)
from feast.infra.offline_stores.offline_store import RetrievalJob

from feature_repo.errors import HistoryError

Int64 = npt.NDArray[np.int64]
_INSTANT = pa.timestamp("us", tz="UTC")
_EVENT_TIMESTAMP = "event_timestamp"


class ServedHistoryOfflineStoreConfig(DaskOfflineStoreConfig):
    """Configuration: there is nothing to configure."""

    # Feast finds the store by this name; its own classes narrow the type in the same way
    type: Literal["feature_repo.offline.ServedHistoryOfflineStore"] = (
        "feature_repo.offline.ServedHistoryOfflineStore"  # type: ignore[assignment]
    )


class ServedHistoryOfflineStore(DaskOfflineStore):
    """Feast's dask store with another point-in-time join."""

    @staticmethod
    def get_historical_features(  # noqa: PLR0913, PLR0917 - Feast's signature
        config: Any,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Any,
        registry: Any,  # noqa: ARG004
        project: str,  # noqa: ARG004
        full_feature_names: bool = False,  # noqa: FBT001, FBT002
        filter_by_created_timestamp: bool = False,  # noqa: ARG004, FBT001, FBT002
        **kwargs: Any,  # noqa: ARG004
    ) -> RetrievalJob:
        """Return a job that answers every row of ``entity_df``, in its order."""
        if not isinstance(entity_df, pd.DataFrame):
            raise HistoryError(f"rows to join: want a pandas.DataFrame, got {type(entity_df)}")

        def evaluate() -> pa.Table:
            table = pa.Table.from_pandas(entity_df, preserve_index=False)
            for view in feature_views:
                names = _columns(view, feature_refs, full_feature_names=full_feature_names)
                table = _joined(table, view, names, repo_path=str(config.repo_path))
            return table

        return _ArrowJob(evaluate, full_feature_names, repo_path=str(config.repo_path))


class _ArrowJob(DaskRetrievalJob):
    """A job whose answer is an Arrow table already."""

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002
        table: pa.Table = self.evaluation_function()
        return table

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._to_arrow_internal(timeout).to_pandas()


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of one file that belong to an id that was asked for."""

    path: Path
    label: Any
    """What the file says of itself: another one may take its place while it is read."""
    rows: Int64
    codes: Int64
    """Which id each row is of: its place among the ids asked for."""
    instants: Int64
    """µs since 1970, UTC."""


def _columns(
    view: FeatureView, feature_refs: Sequence[str], *, full_feature_names: bool
) -> dict[str, str]:
    """Return the column in the answer by column of the source."""
    prefix = str(view.projection.name_to_use())  # type: ignore[no-untyped-call]
    asked = [ref.partition(":")[2] for ref in feature_refs if ref.partition(":")[0] == prefix]
    return {name: f"{prefix}__{name}" if full_feature_names else name for name in asked}


def _joined(
    table: pa.Table, view: FeatureView, names: Mapping[str, str], *, repo_path: str
) -> pa.Table:
    source, key = view.batch_source, view.join_keys[0]
    if not isinstance(source, FileSource) or len(view.join_keys) != 1 or view.ttl:
        raise HistoryError(f"{view.name}: want one join key, no ttl and files as the batch source")
    folder = Path(FileSource.get_uri_for_file_path(repo_path, source.path))
    ids = table[key].cast(pa.string()).combine_chunks()
    asked = pc.unique(ids)
    instants = np.asarray(table[_EVENT_TIMESTAMP].cast(_INSTANT).cast(pa.int64()), dtype=np.int64)
    answer = None
    while answer is None:  # again when an erasure rewrote a part between its keys and its vectors
        parts = [_read_keys(path, key, source.timestamp_field, asked) for path in _files(folder)]
        chosen = _newest(parts, _codes(ids, asked), instants)
        answer = _take(parts, chosen, list(names))
    for name, column in names.items():
        table = table.append_column(column, answer[name])
    return table


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.parquet"))
    if not found:
        raise HistoryError(f"{folder} holds no history: run `marquee reconcile`")
    return found


def _read_keys(path: Path, key: str, timestamp: str, asked: "pa.Array[Any]") -> _Part:
    file = pq.ParquetFile(path)
    table = file.read(columns=[key, timestamp])
    code = _codes(table[key], asked)
    rows = np.flatnonzero(code >= 0)
    instants = np.asarray(table[timestamp].cast(_INSTANT).cast(pa.int64()), dtype=np.int64)
    return _Part(path, _label(file), rows, code[rows], instants[rows])


def _codes(ids: Any, asked: "pa.Array[Any]") -> Int64:
    """Return each id's place among those asked for, -1 where it is none of them."""
    places: Any = pc.index_in(ids, value_set=asked)
    return np.asarray(places.fill_null(-1), dtype=np.int64)


def _newest(parts: Sequence[_Part], codes: Int64, instants: Int64) -> Int64:
    """Return, for each row asked, the newest row of its id at or before its instant, or -1.

    Rows are counted over all parts, in their order; of two rows at one instant the later counts.
    """
    held = np.concatenate([part.codes for part in parts])
    since = np.concatenate([part.instants for part in parts])
    moments = np.unique(since)
    # one number per id and moment, growing with the moment, so that one search finds both
    step = len(moments) + 1
    key = held * step + np.searchsorted(moments, since) + 1
    order = np.argsort(key, kind="stable")
    wanted = codes * step + np.searchsorted(moments, instants, side="right")
    place = np.searchsorted(key[order], wanted, side="right") - 1
    found = order[np.maximum(place, 0)] if len(order) else np.zeros(len(codes), dtype=np.int64)
    is_own = (place >= 0) & (held[found] == codes) if len(order) else np.zeros(len(codes), bool)
    return np.where(is_own, found, -1)


def _label(file: pq.ParquetFile) -> Any:
    return file.metadata.metadata, file.metadata.num_rows


def _take(parts: Sequence[_Part], chosen: Int64, names: list[str]) -> pa.Table | None:
    """Return the chosen rows' columns, nulls where -1, reading only what is needed of each part.

    None when one of them is another file by now.
    """
    needed = np.unique(chosen[chosen >= 0])
    ends = np.cumsum([len(part.rows) for part in parts])
    taken = []
    for part, end in zip(parts, ends, strict=True):
        begin = end - len(part.rows)
        inside = needed[(needed >= begin) & (needed < end)] - begin
        if len(inside):
            file = pq.ParquetFile(part.path)
            if _label(file) != part.label:
                return None
            table = file.read(columns=names)
            taken.append(table.take(pa.array(part.rows[inside])).replace_schema_metadata())
    if not taken:
        schema = pq.read_schema(parts[0].path).remove_metadata()
        empty = pa.schema([schema.field(name) for name in names]).empty_table()
        taken = [empty]
    places: Any = pa.array(np.searchsorted(needed, chosen), mask=chosen < 0)
    return pa.concat_tables(taken).combine_chunks().take(places)
