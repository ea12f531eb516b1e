"""Immutable versions: staged from stabilised embeddings, committed whole, opened with proof.

::

    versions/<digest>/manifest.json  user_default.parquet
                      user/part-<bucket>.parquet  item/part-<n>.parquet
"""

import json
import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embedding_store.contracts import ID_COLUMNS, EmbeddingShard, Ids, Side
from embedding_store.errors import ContractError, CorruptVersionError
from embedding_store.manifest import Coverage, FileRecord, Manifest, Origin
from embedding_store.parts import parts_of, read_default_user, read_shard, shards
from embedding_store.store import EmbeddingStore
from embedding_store.transform import STABILISATION_FILE, Stabilisation
from lake.atomic import commit_folder, staged_folder
from lake.digests import digest_bytes, digest_file

logger = logging.getLogger(__name__)

MANIFEST_FILE = "manifest.json"
DEFAULT_USER_FILE = "user_default.parquet"


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


@dataclass(frozen=True)
class Version:
    """An opened version: the folder's name proves its manifest, and that each file read."""

    folder: Path
    manifest: Manifest

    @cached_property
    def digest(self) -> str:
        """The content digest."""
        return self.manifest.digest

    def read(self, record: FileRecord) -> pa.Buffer:
        """Return a file's bytes, proven; raises CorruptVersionError."""
        path = self.folder / record.path
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise CorruptVersionError(f"{path} is missing: restore it, or roll back") from error
        if digest_bytes(data) != record.sha256:
            raise CorruptVersionError(
                f"{path}: want {record.bytes} bytes with sha256 {record.sha256}, got {len(data)} "
                "other bytes: restore it, or roll back"
            )
        return pa.py_buffer(data)

    def shard(self, record: FileRecord, side: Side) -> EmbeddingShard:
        """Return a part's embeddings, proven."""
        return read_shard(self.read(record), side, self.manifest.dim)

    @cached_property
    def items(self) -> EmbeddingShard:
        """All items as one shard; items are the small side."""
        tables = [self.shard(one, "item").table for one in self.manifest.parts("item")]
        return EmbeddingShard(pa.concat_tables(tables), "item", self.manifest.dim)

    def verify(self) -> None:
        """Re-check every file by checksum; raises CorruptVersionError."""
        for record in self.manifest.files:
            self.read(record)


def stage(
    store: EmbeddingStore, stabilised: Path, *, origin: Origin, active_users: ActiveUsers
) -> Version:
    """Return the version made of a ``stabilised_embeddings`` folder, committed but not published.

    Every shard is validated; raises ContractError, and then nothing is committed.
    """
    transform = Stabilisation.read(stabilised / STABILISATION_FILE)
    with staged_folder(store.scratch) as folder:
        required = active_users.array()
        covered = 0
        records = []
        for side in ("user", "item"):
            parts = parts_of(stabilised / side, side)
            for part, shard in zip(
                parts, shards(stabilised / side, side, transform.dim), strict=True
            ):
                if side == "user":
                    covered += pc.is_in(shard.ids, value_set=required).true_count
                name = f"{side}/part-{part.number}.parquet"
                records.append(_copy(part.path, folder, name, shard.table.num_rows))
            if not any(one.rows for one in records if one.path.startswith(f"{side}/")):
                raise ContractError(f"{stabilised / side}: want at least one {side}, got none")
        default = read_default_user(stabilised / DEFAULT_USER_FILE, transform.dim)
        records.append(_copy(stabilised / DEFAULT_USER_FILE, folder, DEFAULT_USER_FILE, 1))
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


def _copy(source: Path, folder: Path, name: str, rows: int) -> FileRecord:
    """Copy, not link: a version must not change when somebody damages the lake's artifact."""
    target = folder / name
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(source, target)
    return FileRecord(path=name, rows=rows, sha256=digest_file(target), bytes=target.stat().st_size)


def open_version(folder: Path, *, manifest_sha256: str | None = None) -> Version:
    """Return the version in ``folder``, its manifest proven by the folder's name and the log.

    Raises CorruptVersionError when it is missing or changed.
    """
    try:
        data = (folder / MANIFEST_FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CorruptVersionError(
            f"{folder} has no {MANIFEST_FILE}: restore the folder, or roll back"
        ) from error
    if manifest_sha256 is not None and digest_bytes(data) != manifest_sha256:
        raise CorruptVersionError(f"{folder / MANIFEST_FILE}: is not what the log recorded")
    try:
        manifest = Manifest.from_bytes(data)
    except (json.JSONDecodeError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise CorruptVersionError(f"{folder / MANIFEST_FILE}: is no manifest: {error}") from error
    if manifest.digest != folder.name:
        raise CorruptVersionError(
            f"{folder / MANIFEST_FILE}: its content has the digest {manifest.digest}"
        )
    return Version(folder, manifest)
