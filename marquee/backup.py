"""``marquee backup``: a copy of the store that a new machine can be served from.

::

    <target>/blobs/<sha256>               the bytes of any file, under their own digest
    <target>/backups/<entries>-<n>.json   what one backup is made of, written last; sealed
    <target>/backing-up.json              who backs up now

What is in it: the log, then what its fold names (versions, gate records, served history), the
tombstones, what consumers rely on and ``workspace.json``. Blobs are never changed, so a backup
copies what is not there yet, a publication meanwhile does no harm, and whoever is killed leaves no
new list: run it again.
Once a list stands, older ones go, and so do blobs that it does not name: rows of erased users.
"""

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from assets.consumer_registry import FOLDER as CONSUMERS
from assets.consumer_registry import consumer_files
from assets.workspace import Workspace
from embedding_store.contracts import SIDES
from embedding_store.errors import CorruptVersionError
from embedding_store.folding import fold
from embedding_store.history import is_part_of, part_path
from embedding_store.state import PublishedVersion, StoreState
from embedding_store.versions import MANIFEST_FILE
from lake.digests import digest_bytes
from lake.errors import MissingArtifactError
from lake.lock import exclusive_lock
from lake.objects import DiskObjects, Objects
from lake.s3 import SCHEME, S3Objects
from lake.sealed import json_object, sealed, unsealed
from marquee.errors import CommandError

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
BLOBS, LISTS = "blobs", "backups"
CLAIM = "backing-up.json"
WORKSPACE_FILE = "workspace.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What one backup is made of."""

    entries: int
    """Of the log, from the first on."""
    made_at: str
    files: dict[str, str]
    """sha256 by path: ``workspace.json``, ``tombstones/...``, ``consumers/...``, ``store/...``."""
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a run of it did."""

    backup: Backup
    copied: int
    """Blobs that were not there yet."""
    removed: int
    """Blobs that no backup names any more."""


def open_place(place: str) -> Objects:
    """Return the objects of a folder or of ``s3://bucket/prefix``."""
    return S3Objects(place) if place.startswith(SCHEME) else DiskObjects(Path(place).resolve())


def back_up(workspace: Workspace, place: str) -> BackedUp:
    """Copy the store as it is now to ``place``; what is there already is not copied again.

    Raises CommandError when ``place`` has the backup of another workspace, or of a longer log,
    CorruptVersionError where a version is damaged, and WorkspaceBusyError or CommandError while
    another process or machine backs it up, whose blobs would be taken for old ones.
    """
    what = f"the backup of {workspace.root.name}"
    with exclusive_lock(workspace.root / "backup.lock", what=what):
        target = open_place(place)
        with _claimed(target, workspace, place):
            return _back_up(workspace, target, place)


@contextmanager
def _claimed(target: Objects, workspace: Workspace, place: str) -> Iterator[None]:
    """Hold the place against other machines; what a kill left behind is taken over by its own."""
    mine = json.dumps({"machine": socket.gethostname(), "workspace": str(workspace.root)}).encode()
    if not target.put_if_absent(CLAIM, mine) and (held := target.get(CLAIM)) != mine:
        raise CommandError(
            f"{place} is being backed up to by {held.decode(errors='replace')}: wait until that is "
            f"done; if it was killed, run it there again, or remove {target}/{CLAIM}"
        )
    try:
        yield
    finally:
        target.delete(CLAIM)


def _back_up(workspace: Workspace, target: Objects, place: str) -> BackedUp:
    held = newest(target)
    there = set(target.list(BLOBS))
    copied = 0
    while True:
        try:
            files: dict[str, str] = {}
            entries = 0
            for path, data in _files(workspace):
                entries += path.startswith("store/log/")
                files[path] = digest_bytes(data)
                if held is not None:
                    _require_same_log(held, path, files[path], place)
                key = f"{BLOBS}/{files[path]}"
                if key not in there:
                    _copy(target, key, data)
                    there.add(key)
                    copied += 1
            break
        except _ChangedMeanwhileError:
            logger.info("versions were rewritten or collected: the copy begins again")
    if held is not None and entries < held.entries:
        raise CommandError(
            f"{place} has a backup of {held.entries} entries of the log, the workspace has "
            f"{entries}: its log lost its end; restore it instead, or name another place"
        )
    backup = Backup(entries=entries, made_at=datetime.now(UTC).isoformat(), files=files)
    key = _put_list(target, backup)
    logger.info("step backup-listed: %s", place)
    return BackedUp(backup, copied, _forget_others(target, backup, kept=key))


def newest(target: Objects) -> Backup | None:
    """Return the newest whole backup, or None; raises CommandError when its list is damaged."""
    keys = list(target.list(LISTS))
    if not keys:
        return None
    try:
        fields = unsealed(json_object(target.get(keys[-1])))
        if fields["format_version"] != FORMAT_VERSION:
            raise CommandError(
                f"{target}/{keys[-1]}: this release reads format {FORMAT_VERSION}, got "
                f"{fields['format_version']!r}: upgrade"
            )
        return Backup(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise CommandError(
            f"{target}/{keys[-1]} is damaged ({error}): remove it and back up again"
        ) from error


class _ChangedMeanwhileError(Exception):
    """A version was rewritten or collected after the log was read."""


def _files(workspace: Workspace) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of everything, proven; the log first, and then what that names."""
    store = workspace.store
    objects = store.objects
    entries = store.log.slots()  # not what a checkpoint says of them
    for seq in range(1, len(entries) + 1):
        key = f"log/{seq:020d}.json"
        yield f"store/{key}", objects.get(key)
    state = fold(entries)
    for key in objects.list("gates"):
        yield f"store/{key}", objects.get(key)
    for version in state.versions.values():
        yield from _of_version(workspace, version)
    yield from _of_history(workspace, state)
    tombstones = workspace.lake.storage.objects
    for key in tombstones.list("tombstones"):
        yield key, tombstones.get(key)
    for path in consumer_files(workspace):
        yield f"{CONSUMERS}/{path.name}", path.read_bytes()
    yield WORKSPACE_FILE, (workspace.root / WORKSPACE_FILE).read_bytes()


def _of_version(workspace: Workspace, version: PublishedVersion) -> Iterator[tuple[str, bytes]]:
    store = workspace.store
    if version.is_retired and not store.has_version(version.digest):
        return  # collected since: nothing serves it, and its history is in its parts
    folder = f"store/versions/{version.digest}"
    try:
        opened = store.open(version)
        if opened.digest != version.digest:
            raise _ChangedMeanwhileError
        for record in opened.manifest.files:
            data = opened.read(record).to_pybytes()
            if digest_bytes(data) != record.sha256:  # of what an erasure put in its place
                raise _ChangedMeanwhileError
            yield f"{folder}/{record.path}", data
        yield f"{folder}/{MANIFEST_FILE}", opened.manifest.to_bytes()
    except CorruptVersionError:
        now = store.state().versions[version.number]
        is_collected = now.is_retired and not store.has_version(now.digest)
        if now.digest != version.digest or is_collected:
            raise _ChangedMeanwhileError from None
        raise


def _of_history(workspace: Workspace, state: StoreState) -> Iterator[tuple[str, bytes]]:
    """Yield the parts that stand; others are made again where their version's files are."""
    store = workspace.store
    for frame in state.frames:
        for side in SIDES:
            for switch in state.stable_switches(frame):
                path = part_path(store, switch, side)
                if is_part_of(path, switch, state.version(switch.number)):
                    yield f"store/{path.relative_to(store.root).as_posix()}", path.read_bytes()


def _require_same_log(held: Backup, path: str, sha256: str, place: str) -> None:
    if path.startswith("store/log/") and held.files.get(path, sha256) != sha256:
        raise CommandError(
            f"{place} has the backup of another workspace, or of a log that was another one at "
            f"{Path(path).name}: name another place"
        )


def _copy(target: Objects, key: str, data: bytes) -> None:
    """Write a blob and read it back."""
    target.put(key, data)
    if digest_bytes(target.get(key)) != Path(key).name:
        raise CommandError(f"{target}/{key} does not read back as it was written: run it again")


def _put_list(target: Objects, backup: Backup) -> str:
    """Write the list behind those that are there, and return its key."""
    fields = {name: getattr(backup, name) for name in backup.__slots__}
    data = (json.dumps(sealed(fields), indent=1, sort_keys=True) + "\n").encode()
    numbers = [int(Path(key).stem.rpartition("-")[2]) for key in target.list(LISTS)]
    key = f"{LISTS}/{backup.entries:020d}-{max(numbers, default=-1) + 1:06d}.json"
    target.put(key, data)
    return key


def _forget_others(target: Objects, backup: Backup, *, kept: str) -> int:
    """Remove older lists, then what the newest does not name; return how many blobs that were."""
    for key in [one for one in target.list(LISTS) if one != kept]:
        target.delete(key)
    wanted = {f"{BLOBS}/{sha256}" for sha256 in backup.files.values()}
    surplus = [key for key in target.list(BLOBS) if key not in wanted]
    for key in surplus:
        target.delete(key)
    return len(surplus)


def blob(target: Objects, sha256: str) -> bytes:
    """Return a file's bytes, proven; raises CommandError."""
    key = f"{BLOBS}/{sha256}"
    try:
        data = target.get(key)
    except MissingArtifactError as error:
        raise CommandError(f"{target}/{key} is missing: the backup cannot be restored") from error
    if digest_bytes(data) != sha256:
        raise CommandError(f"{target}/{key} is damaged: the backup cannot be restored")
    return data
