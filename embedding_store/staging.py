"""Making a version of a day's stabilised embeddings: validated, committed whole, not yet named.

Stabilised embeddings are float32. A version of that dtype has their files; of another one each part
is encoded, proven by the same contract once it is decoded, and written anew, one at a time.
"""

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

from embedding_store.contracts import ID_COLUMNS, EmbeddingShard, Ids, Side, strings
from embedding_store.dtypes import DEFAULT_DTYPE
from embedding_store.errors import ContractError, PublicationRefusedError
from embedding_store.manifest import Coverage, FileRecord, Manifest, Origin
from embedding_store.parts import parts_of, read_default_user, shards, write_part
from embedding_store.score_error import require_scores_kept
from embedding_store.state import StoreState
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


@dataclass(frozen=True, slots=True)
class _Staging:
    """What is staged from where to where."""

    stabilised: Path
    folder: Path
    dim: int
    dtype: str

    def store(self, name: str, shard: EmbeddingShard) -> tuple[EmbeddingShard, FileRecord]:
        """Write the file that ``shard`` was read from; return what the version has of it.

        Copy, not link: a version must not change when somebody damages the lake's artifact.
        """
        target = self.folder / name
        target.parent.mkdir(exist_ok=True)
        if self.dtype == DEFAULT_DTYPE:
            stored = shard
            shutil.copyfile(self.stabilised / name, target)
        else:
            stored = shard.stored_as(self.dtype)
            write_part(target, stored.table)
        return stored, FileRecord.of(self.folder, name, rows=stored.table.num_rows)


def stage(
    store: EmbeddingStore,
    stabilised: Path,
    *,
    origin: Origin,
    active_users: ActiveUsers,
    dtype: str = DEFAULT_DTYPE,
) -> Version:
    """Return the version made of a ``stabilised_embeddings`` folder, committed but not published.

    Every shard is validated, as it is and as the version has it; raises ContractError, and then
    nothing is committed. So does a dtype that changes scores by more than its tolerance.
    """
    transform = Stabilisation.read(stabilised / STABILISATION_FILE)
    transform.require_files(stabilised)
    with store.staged_version() as folder:
        staging = _Staging(stabilised, folder, transform.dim, dtype)
        users, coverage = _stage_users(staging, active_users)
        items = _stage_items(staging)
        exact = read_default_user(stabilised / DEFAULT_USER_FILE, transform.dim)
        default, record = staging.store(DEFAULT_USER_FILE, exact)
        manifest = Manifest(
            frame=transform.frame,
            dim=transform.dim,
            origin=origin,
            reference=transform.reference,
            transform_sha256=transform.transform_sha256,
            files=(*users, *items, record),
            coverage=coverage,
            default_user=tuple(default.vectors[0].tolist()),
            dtype=dtype,
            score_error=require_scores_kept(stabilised, folder, transform.dim, dtype),
        )
        logger.info("step files-staged: %s", manifest.digest)
        (folder / MANIFEST_FILE).write_bytes(manifest.to_bytes())
        logger.info("step manifest-staged: %s", manifest.digest)
        store.commit_version(folder, manifest.digest)
    logger.info("step version-committed: %s", manifest.digest)
    return open_version(store.version_folder(manifest.digest))


def require_dtype_of_frame(
    store: EmbeddingStore, state: StoreState, frame: int, dtype: str
) -> None:
    """Raise PublicationRefusedError unless the frame's versions are of this dtype.

    It is one of the things that never change within a frame. Each publication asks, so what is
    stable (or newest, where nothing is yet) speaks for all.
    """
    held = state.stable(frame) or next(iter(reversed(state.live_versions(frame))), None)
    opened = state.opened.get(frame)
    if held is not None:
        was, of = store.open(held).manifest.dtype, f"as {held.name} is"
    elif opened is not None and opened.dtype is not None:
        was, of = opened.dtype, "as it was opened"
    else:
        return
    if was != dtype:
        raise PublicationRefusedError(
            f"frame {frame} is {was}, {of}, and cannot take a version of {dtype}: publish {was}, "
            f"or make a workspace whose dtype is {dtype}"
        )


def _stage_users(staging: _Staging, active: ActiveUsers) -> tuple[list[FileRecord], Coverage]:
    folder = staging.stabilised / "user"
    parts = parts_of(folder, "user")
    required = active.by_bucket(len(parts))
    covered, records = 0, []
    for part, shard in zip(parts, shards(folder, "user", staging.dim), strict=True):
        covered += pc.is_in(shard.ids, value_set=required[part.number]).true_count
        records.append(staging.store(f"user/{part.path.name}", shard)[1])
    _require_rows(records, "user")
    return records, Coverage(
        definition=active.definition, required=sum(map(len, required)), covered=covered
    )


def _stage_items(staging: _Staging) -> list[FileRecord]:
    folder = staging.stabilised / "item"
    records = [
        staging.store(f"item/{part.path.name}", shard)[1]
        for part, shard in zip(
            parts_of(folder, "item"), shards(folder, "item", staging.dim), strict=True
        )
    ]
    _require_rows(records, "item")
    return records


def _require_rows(records: list[FileRecord], side: Side) -> None:
    if not any(record.rows for record in records):
        raise ContractError(f"stabilised embeddings: want at least one {side}, got none")
