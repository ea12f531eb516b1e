"""The commit log: the one place where the state of a workspace changes.

One object per slot, created only if absent, so the log itself assigns the sequence::

    log/00000000000000000001.json   log/00000000000000000002.json   ...

State is the fold of the entries; nothing is ever rewritten, and there is no mutable pointer. Two
instants stand in an entry: ``recorded_at`` (the wall clock, for people) and ``effective_at`` (the
instant in the world from which the entry holds; for a replayed day, that day's end). Now and then a
writer leaves a checkpoint (``lake.log_checkpoints``), so that nobody has to read every entry.
"""

import itertools
import json
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from lake.errors import (
    CorruptArtifactError,
    LakeError,
    LogMovedError,
    MissingArtifactError,
    StorageError,
    UnknownFormatError,
)
from lake.log_checkpoints import Checkpoints
from lake.objects import Objects, get_all
from lake.sealed import json_object, sealed, unsealed

logger = logging.getLogger(__name__)

FORMAT_VERSION = 2
_SEALED_FROM = 2
"""The first format whose entries carry the digest of their fields."""
CHECKPOINT_EVERY = 32
"""Entries; so many at most are read one by one (docs/adr/0017-checkpoints-of-the-log.md)."""

_RESTORE = "restore it from a copy of the log; nothing is read or written until then"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One accepted change: who did what, when, why."""

    seq: int
    entry_id: str
    kind: str
    effective_at: str
    recorded_at: str
    by: str
    why: str
    body: Mapping[str, Any]


def _wall_clock() -> datetime:
    return datetime.now(UTC)


def _json(entry: Entry, *, indent: int | None) -> bytes:
    payload = sealed({"format_version": FORMAT_VERSION, **asdict(entry)})
    return json.dumps(payload, indent=indent, sort_keys=True).encode()


class CommitLog:
    """An append-only sequence of entries over any ``Objects``."""

    def __init__(
        self, objects: Objects, *, prefix: str = "log", now: Callable[[], datetime] = _wall_clock
    ) -> None:
        """Open the log below ``prefix``; ``now`` stamps ``recorded_at`` and nothing else."""
        self._objects = objects
        self._prefix = prefix
        self._now = now
        self.checkpoints = Checkpoints(objects, log=prefix)
        self._known: list[Entry] = []  # entries never change, so what was read once stays true
        self._lock = Lock()  # of this object's memory; between writers the slots decide

    def entries(self) -> tuple[Entry, ...]:
        """Return every entry, in order; reads only slots that this object has not read yet.

        Raises CorruptArtifactError when an entry is missing while later ones exist: its slot looks
        free, and a writer that took it would change the order of what follows.
        """
        with self._lock:
            if not self._known:
                self._known.extend(self._copied())
            return self._read_on()

    def slots(self) -> tuple[Entry, ...]:
        """Return every entry as its own slot has it, whatever checkpoints say; raises as well."""
        alone = CommitLog(self._objects, prefix=self._prefix)
        return alone._read_on()

    def checkpoint(self, num_entries: int) -> list[Entry]:
        """Return a checkpoint's entries; raises MissingArtifactError, CorruptArtifactError."""
        lines = self.checkpoints.read(num_entries)
        return [self._parsed(seq, line) for seq, line in enumerate(lines, 1)]

    def _copied(self) -> list[Entry]:
        """Return the entries of the newest checkpoint that can be read, its last one proven."""
        for number in self.checkpoints.newest_first():
            try:
                entries = self.checkpoint(number)
            except (MissingArtifactError, CorruptArtifactError, UnknownFormatError) as error:
                logger.warning("a checkpoint of the log is passed over: %s", error)
                continue
            if self._read(number) != entries[-1]:
                raise CorruptArtifactError(
                    f"log entry {self._objects}/{self._key(number)} is missing or not what "
                    f"{self.checkpoints.where(number)} has: {_RESTORE}"
                )
            return entries
        return []

    def _read_on(self) -> tuple[Entry, ...]:
        while True:
            known = len(self._known)
            later = list(self._objects.list(self._prefix, after=self._key(known)))
            wanted = map(self._key, itertools.count(known + 1))
            found = [key for key, want in zip(later, wanted, strict=False) if key == want]
            for seq, data in enumerate(get_all(self._objects, found), known + 1):
                self._known.append(self._parsed(seq, data))
            if len(found) == len(later):
                return tuple(self._known)
            missing = len(self._known) + 1
            if self._read(missing) is None:  # not just written between the two looks
                raise CorruptArtifactError(
                    f"log entry {self._objects}/{self._key(missing)} is missing while "
                    f"{later[-1]} exists: {_RESTORE}"
                )

    def append(
        self,
        kind: str,
        body: Mapping[str, Any],
        *,
        effective_at: datetime,
        by: str,
        why: str,
        after_seq: int | None = None,
    ) -> Entry:
        """Append one entry and return it with its sequence number.

        Args:
            kind: what changed.
            body: JSON-serialisable details.
            effective_at: aware instant in the world's time.
            by: who or what asks for the change.
            why: one sentence for the reader of the log.
            after_seq: refuse with LogMovedError unless the log still ends at this sequence number.
        """
        if effective_at.tzinfo is None:
            raise ValueError(f"effective_at: want an aware UTC instant, got {effective_at!r}")
        entry_id = uuid.uuid4().hex
        while True:
            last = len(self.entries())
            if after_seq is not None and last != after_seq:
                raise LogMovedError(
                    f"the log ends at {last}, the change was decided at {after_seq}"
                )
            entry = Entry(
                seq=last + 1,
                entry_id=entry_id,
                kind=kind,
                effective_at=effective_at.astimezone(UTC).isoformat(),
                recorded_at=self._now().astimezone(UTC).isoformat(),
                by=by,
                why=why,
                body=body,
            )
            if self._claim(entry):
                if entry.seq % CHECKPOINT_EVERY == 0:
                    self._leave_checkpoint(entry.seq)
                return entry

    def _leave_checkpoint(self, seq: int) -> None:
        """Copy the first entries; the entry before it is logged, whatever becomes of the copy."""
        try:
            entries = self.entries()[:seq]
            self.checkpoints.write([_json(entry, indent=None) for entry in entries])
        except (LakeError, OSError) as error:
            logger.warning("no checkpoint of the log is written at entry %s: %s", seq, error)

    def _claim(self, entry: Entry) -> bool:
        """Return whether ``entry`` holds its slot.

        A refusal can be the echo of our own write that timed out, and a failure can come after
        the write was done, so the slot itself decides.
        """
        data = _json(entry, indent=1) + b"\n"
        try:
            if self._objects.put_if_absent(self._key(entry.seq), data):
                return True
        except StorageError:
            if (held := self._read(entry.seq)) is None:
                raise  # nobody knows whether it is still under way: who asked runs again
        else:
            held = self._read(entry.seq)
        return held is not None and held.entry_id == entry.entry_id

    def _key(self, seq: int) -> str:
        return f"{self._prefix}/{seq:020d}.json"

    def _read(self, seq: int) -> Entry | None:
        try:
            return self._parsed(seq, self._objects.get(self._key(seq)))
        except MissingArtifactError:
            return None

    def _parsed(self, seq: int, data: bytes) -> Entry:
        key = self._key(seq)
        try:
            fields = json_object(data)
            if (version := fields["format_version"]) not in range(1, FORMAT_VERSION + 1):
                raise UnknownFormatError(
                    f"log entry {self._objects}/{key}: want a format through {FORMAT_VERSION}, got "
                    f"{version!r}: use the release that wrote it, or a newer one"
                )
            fields = unsealed(fields) if version >= _SEALED_FROM else fields
            del fields["format_version"]
            entry = Entry(**fields)
            is_aware = datetime.fromisoformat(entry.effective_at).tzinfo is not None
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(seq, f"got {len(data)} bytes ({error})") from error
        if not is_aware:
            raise self._damaged(seq, f"got effective_at {entry.effective_at!r} without a time zone")
        if entry.seq != seq:
            raise self._damaged(seq, f"got the entry {entry.seq!r}")
        return entry

    def _damaged(self, seq: int, got: str) -> CorruptArtifactError:
        return CorruptArtifactError(
            f"log entry {self._objects}/{self._key(seq)}: want the entry {seq} in JSON, "
            f"{got}: {_RESTORE}"
        )
