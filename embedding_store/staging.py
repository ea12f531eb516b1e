"""Making a version of a day's stabilised embeddings: validated, committed whole, not yet named."""

import logging
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embedding_store.contracts import ID_COLUMNS, Ids, Side, strings
from embedding_store.errors import ContractError
from embedding_store.manifest import Coverage, FileRecord, Manifest, Origin
from embedding_store.parts import parts_of, read_default_user, shards
from embedding_store.store import EmbeddingStore
from embedding_store.transform import STABILISATION_FILE, Stabilisation
from embedding_store.versions import DEFAULT_USER_FILE, MANIFEST_FILE, Version, open_version
from lake.hashing import buckets

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ActiveUsers:
    """The users that a version must cover."""

    definition: str
    """Who they are, in words, such as "at least one token in the last 30 days"."""
    ids: Collection[str] | Path
    """Their ids, or a parquet file with a ``user_id`` column."""

    def by_bucket(self, num_buckets: int) -> list[Ids]:
        """Return the distinct ids of each bucket."""
        found: list[list[Ids]] = [[pa.array([], pa.string())] for _ in range(num_buckets)]
        for ids in self._batches():
            bucket_of = buckets(strings(ids), num_buckets)
            order = np.argsort(bucket_of, kind="stable")
            starts = np.searchsorted(bucket_of[order], np.arange(num_buckets + 1))
            by_bucket = ids.take(order)
            for bucket, (start, end) in enumerate(pairwise(starts.tolist())):
                found[bucket].append(by_bucket[start:end])
        return [pc.unique(pa.concat_arrays(arrays)) for arrays in found]

    def _batches(self) -> Iterator[Ids]:
        """Yield the ids in Arrow arrays: of millions, Python objects would take gigabytes."""
        if not isinstance(self.ids, Path):
            yield pa.array(list(self.ids), pa.string())
            return
        with pq.ParquetFile(self.ids) as file:
            for batch in file.iter_batches(columns=[ID_COLUMNS["user"]]):
                yield cast("Ids", batch.column(0))


def stage(
    store: EmbeddingStore, stabilised: Path, *, origin: Origin, active_users: ActiveUsers
) -> Version:
    """Return the version made of a ``stabilised_embeddings`` folder, committed but not published.

    Every shard is validated; raises ContractError, and then nothing is committed.
    """
    transform = Stabilisation.read(stabilised / STABILISATION_FILE)
    transform.require_files(stabilised)
    with store.staged_version() as folder:
        users, coverage = _stage_users(stabilised, transform.dim, folder, active_users)
        items = _stage_items(stabilised, transform.dim, folder)
        default = read_default_user(stabilised / DEFAULT_USER_FILE, transform.dim)
        records = [*users, *items, _copy(stabilised, folder, DEFAULT_USER_FILE, rows=1)]
        manifest = Manifest(
            frame=transform.frame,
            dim=transform.dim,
            origin=origin,
            reference=transform.reference,
            transform_sha256=transform.transform_sha256,
            files=tuple(records),
            coverage=coverage,
            default_user=tuple(default.vectors[0].tolist()),
        )
        logger.info("step files-staged: %s", manifest.digest)
        (folder / MANIFEST_FILE).write_bytes(manifest.to_bytes())
        logger.info("step manifest-staged: %s", manifest.digest)
        store.commit_version(folder, manifest.digest)
    logger.info("step version-committed: %s", manifest.digest)
    return open_version(store.version_folder(manifest.digest))


def _stage_users(
    stabilised: Path, dim: int, folder: Path, active: ActiveUsers
) -> tuple[list[FileRecord], Coverage]:
    parts = parts_of(stabilised / "user", "user")
    required = active.by_bucket(len(parts))
    covered, records = 0, []
    for part, shard in zip(parts, shards(stabilised / "user", "user", dim), strict=True):
        covered += pc.is_in(shard.ids, value_set=required[part.number]).true_count
        name = f"user/{part.path.name}"
        records.append(_copy(stabilised, folder, name, rows=shard.table.num_rows))
    _require_rows(records, "user")
    return records, Coverage(
        definition=active.definition, required=sum(map(len, required)), covered=covered
    )


def _stage_items(stabilised: Path, dim: int, folder: Path) -> list[FileRecord]:
    parts = parts_of(stabilised / "item", "item")
    records = [
        _copy(stabilised, folder, f"item/{part.path.name}", rows=shard.table.num_rows)
        for part, shard in zip(parts, shards(stabilised / "item", "item", dim), strict=True)
    ]
    _require_rows(records, "item")
    return records


def _require_rows(records: list[FileRecord], side: Side) -> None:
    if not any(record.rows for record in records):
        raise ContractError(f"stabilised embeddings: want at least one {side}, got none")


def _copy(source: Path, folder: Path, name: str, *, rows: int) -> FileRecord:
    """Copy, not link: a version must not change when somebody damages the lake's artifact."""
    target = folder / name
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(source / name, target)
    return FileRecord.of(folder, name, rows=rows)
