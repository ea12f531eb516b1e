"""Making a version of a day's stabilised embeddings: validated, committed whole, not yet named."""

import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embedding_store.contracts import ID_COLUMNS, Ids, Side
from embedding_store.errors import ContractError
from embedding_store.manifest import Coverage, FileRecord, Manifest, Origin
from embedding_store.parts import parts_of, read_default_user, shards
from embedding_store.store import EmbeddingStore
from embedding_store.transform import STABILISATION_FILE, Stabilisation
from embedding_store.versions import DEFAULT_USER_FILE, MANIFEST_FILE, Version, open_version
from lake.atomic import commit_folder, staged_folder
from lake.digests import digest_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ActiveUsers:
    """The users that a version must cover."""

    definition: str
    """Who they are, in words, such as "at least one token in the last 30 days"."""
    ids: Iterable[str] | Path
    """Their ids, or a parquet file with a ``user_id`` column."""

    def array(self) -> Ids:
        """Return the ids, string, unique."""
        if isinstance(self.ids, Path):
            column = pq.read_table(self.ids, columns=[ID_COLUMNS["user"]]).column(0)
            return pa.array(column.unique().to_pylist(), pa.string())
        return pa.array(list(self.ids), pa.string()).unique()


def stage(
    store: EmbeddingStore, stabilised: Path, *, origin: Origin, active_users: ActiveUsers
) -> Version:
    """Return the version made of a ``stabilised_embeddings`` folder, committed but not published.

    Every shard is validated; raises ContractError, and then nothing is committed.
    """
    transform = Stabilisation.read(stabilised / STABILISATION_FILE)
    required = active_users.array()
    with staged_folder(store.scratch) as folder:
        users, covered = _stage_side(stabilised, "user", transform.dim, folder, required)
        items, _ = _stage_side(stabilised, "item", transform.dim, folder, required)
        default = read_default_user(stabilised / DEFAULT_USER_FILE, transform.dim)
        records = [*users, *items, _copy(stabilised, folder, DEFAULT_USER_FILE, rows=1)]
        manifest = Manifest(
            frame=transform.frame,
            dim=transform.dim,
            origin=origin,
            reference=transform.reference,
            transform_sha256=transform.transform_sha256,
            files=tuple(records),
            coverage=Coverage(
                definition=active_users.definition, required=len(required), covered=covered
            ),
            default_user=tuple(default.vectors[0].tolist()),
        )
        logger.info("step files-staged: %s", manifest.digest)
        (folder / MANIFEST_FILE).write_bytes(manifest.to_bytes())
        logger.info("step manifest-staged: %s", manifest.digest)
        commit_folder(folder, store.version_folder(manifest.digest))
    logger.info("step version-committed: %s", manifest.digest)
    return open_version(store.version_folder(manifest.digest))


def _stage_side(
    stabilised: Path, side: Side, dim: int, folder: Path, required: Ids
) -> tuple[list[FileRecord], int]:
    """Return the records of one side's parts, and how many of its ids are required."""
    source, covered = stabilised / side, 0
    records = []
    for part, shard in zip(parts_of(source, side), shards(source, side, dim), strict=True):
        covered += pc.is_in(shard.ids, value_set=required).true_count
        name = f"{side}/{part.path.name}"
        records.append(_copy(stabilised, folder, name, rows=shard.table.num_rows))
    if not sum(record.rows for record in records):
        raise ContractError(f"{source}: want at least one {side}, got none")
    return records, covered


def _copy(source: Path, folder: Path, name: str, *, rows: int) -> FileRecord:
    """Copy, not link: a version must not change when somebody damages the lake's artifact."""
    target = folder / name
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(source / name, target)
    return FileRecord(path=name, rows=rows, sha256=digest_file(target), bytes=target.stat().st_size)
