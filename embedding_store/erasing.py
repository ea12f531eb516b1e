"""Erased users in a store's versions: who rewrites them, who is refused, what is removed.

::

    versions/<before> ─► versions/<after> ─► log: versions_erased ─► history ─► <before> removed

A version keeps its number, its gate record and every byte that is no erased user's. The entry in
the log decides: whoever folds it reads ``<after>``, whoever opened ``<before>`` is led there once
it is gone (``EmbeddingStore.open``), and whoever publishes behind it may have none of these users.
"""

import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embedding_store.contracts import ID_COLUMNS
from embedding_store.entries import VersionsErased
from embedding_store.errors import CorruptVersionError, ErasedUsersError, PublicationRefusedError
from embedding_store.history import part_path, remove_rows
from embedding_store.manifest import FileRecord
from embedding_store.parts import write_part
from embedding_store.state import StoreState
from embedding_store.store import EmbeddingStore
from embedding_store.versions import MANIFEST_FILE, Version, open_version
from lake.digests import digest_bytes
from lake.errors import CorruptArtifactError, MissingArtifactError
from lake.tombstones import KEY_VARIABLE, Tombstones
from lake.user_rows import users_of

logger = logging.getLogger(__name__)


def due_erasure(
    store: EmbeddingStore, state: StoreState, tombstones: Tombstones
) -> VersionsErased | None:
    """Return the entry that is due, its rewritten versions committed; None when nobody is left.

    Asked again, it makes the same versions. Published versions whose files are gone hold nobody.
    Raises CorruptVersionError for a version whose users are not as they were published.
    """
    _require_key(state, tombstones)
    found: set[str] = set()
    replacements: dict[str, dict[str, Any]] = {}
    by_digest = {version.digest: version for version in state.versions.values()}
    for digest, published in by_digest.items():
        if not store.has_version(digest) or not _may_have_any(store, digest, tombstones):
            continue
        version = store.open(published)
        gone = frozenset(tombstones.among(_users(version)))
        if gone:
            found.update(map(tombstones.hash_of, gone))
            replacements[digest] = _rewrite(store, version, gone)
            logger.info("step version-rewritten: %s", digest)
    users = found | (tombstones.hashes - state.erased_users)
    if not users:
        return None
    return VersionsErased(
        key=tombstones.fingerprint, users=sorted(users), replacements=replacements
    )


def require_nobody_erased(store: EmbeddingStore, state: StoreState, version: Version) -> None:
    """Raise ErasedUsersError, and remove the version, if it has users whose erasure is logged.

    That happens to vectors that were made before the erasure: publishing them would bring the
    users back.
    """
    if not state.erasures or version.digest in {one.digest for one in state.versions.values()}:
        return
    try:
        num_erased = len(erased_among(store, state, _users(version)))
    except CorruptVersionError as error:
        if store.has_version(version.digest):
            raise
        raise ErasedUsersError(
            f"version {version.digest[:12]} was removed by an erasure: run its day again"
        ) from error
    if num_erased:
        store.remove_version(version.digest)
        raise ErasedUsersError(
            f"version {version.digest[:12]} holds {num_erased} users who were erased since its "
            "vectors were made: run its day again, from what the lake holds now"
        )


def remove_erased_versions(store: EmbeddingStore, state: StoreState) -> None:
    """Remove what the log no longer means: versions from before an erasure, and those never named.

    Of the latter (refused by a gate, or left by a kill) only what holds erased users goes. A
    publisher that still works on one is refused by ``require_nobody_erased``.
    """
    if not state.erasures:
        return
    current = {version.digest for version in state.versions.values()}
    for digest in store.stored_versions():
        if digest in current:
            continue
        if digest in state.digests or erased_among(store, state, _stored_users(store, digest)):
            store.remove_version(digest)
            logger.info("step version-removed: %s", digest)


def erase_orphaned_history(store: EmbeddingStore, state: StoreState) -> None:
    """Take erased users out of history parts that cannot be made again: their version is gone."""
    if not state.erasures:
        return
    switches = (switch for frame in state.frames for switch in state.stable_switches(frame))
    for switch in switches:
        path = part_path(store, switch, "user")
        if not path.exists() or store.has_version(state.version(switch.number).digest):
            continue
        if gone := erased_among(store, state, _ids(path)):
            remove_rows(path, "user", gone, scratch=store.scratch)


def _rewrite(store: EmbeddingStore, version: Version, gone: Collection[str]) -> dict[str, Any]:
    """Commit the version without some users; return what the log says of it."""
    manifest = version.manifest
    with store.staged_version() as folder:
        records = [_rewritten(version, record, gone, folder) for record in manifest.files]
        rows = manifest.rows("user") - sum(
            record.rows for record in records if record.path.startswith("user/")
        )
        after = replace(manifest, files=tuple(records), coverage=manifest.coverage.without(rows))
        (folder / MANIFEST_FILE).write_bytes(after.to_bytes())
        store.commit_version(folder, after.digest)
    sha256 = digest_bytes(after.to_bytes())
    open_version(store.version_folder(after.digest), manifest_sha256=sha256).verify()
    return {"digest": after.digest, "manifest_sha256": sha256, "rows": rows}


def _rewritten(
    version: Version, record: FileRecord, gone: Collection[str], folder: Path
) -> FileRecord:
    target = folder / record.path
    target.parent.mkdir(exist_ok=True)
    data = version.read(record)
    if record.path.startswith("user/"):
        shard = version.shard(record, "user")
        others = pc.invert(pc.is_in(shard.ids, value_set=pa.array(sorted(gone), pa.string())))
        left = np.flatnonzero(others.to_numpy(zero_copy_only=False))
        if len(left) < record.rows:
            write_part(target, shard.take(left).table)
            return FileRecord.of(folder, record.path, rows=len(left))
    target.write_bytes(data)
    return record


def _users(version: Version) -> Iterator[str]:
    for record in version.manifest.parts("user"):
        yield from _ids(version.read(record))


def _may_have_any(store: EmbeddingStore, digest: str, tombstones: Tombstones) -> bool:
    """Return False where a version in a bucket, of which only ids are read, has no erased user.

    One that is on this machine is proven as it is read, and so is one that cannot be looked into.
    """
    try:
        files = store.version_files(digest)
        if any(isinstance(one, Path) for one in files.values()):
            return True
        return bool(tombstones.among(users_of(files)))
    except (CorruptArtifactError, MissingArtifactError):
        return True


def _ids(source: Path | pa.Buffer) -> list[str]:
    column = ID_COLUMNS["user"]
    opened = pa.BufferReader(source) if isinstance(source, pa.Buffer) else source
    table = pq.ParquetFile(opened).read(columns=[column])
    return [str(one) for one in table[column].to_pylist()]


def erased_among(store: EmbeddingStore, state: StoreState, users: Iterable[str]) -> list[str]:
    """Return those of the users whose erasure is logged; raises PublicationRefusedError.

    That is when the store's key is not the one that they were erased under.
    """
    keyed = Tombstones(store.objects, store.erasure_key)
    _require_key(state, keyed)
    erased = state.erased_users
    return [user for user in users if keyed.hash_of(user) in erased]


def _require_key(state: StoreState, tombstones: Tombstones) -> None:
    others = {one.key for one in state.erasures} - {tombstones.fingerprint}
    if others:
        raise PublicationRefusedError(
            f"users were erased under the key {', '.join(sorted(others))}, {KEY_VARIABLE} gives "
            f"the key {tombstones.fingerprint}: set it to what it was then, or to nothing if it "
            "was not set; under another key erased users would come back"
        )


def _stored_users(store: EmbeddingStore, digest: str) -> set[str]:
    """Return the users of a version that the log does not name, also of one that is half there."""
    try:
        return users_of(store.version_files(digest))
    except MissingArtifactError:  # of a bucket: its list of files, or one of them
        keys = store.objects.list(f"versions/{digest}/user")
        return {user for key in keys for user in _ids(pa.py_buffer(store.objects.get(key)))}
