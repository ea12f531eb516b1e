"""From the log to the state of the store, and nothing else.

::

    entries ──fold(as_of)──► StoreState: accepted models, versions, switches of aliases, consumers

Entries are folded in the log's own order; those that take effect after ``as_of`` are left out. Each
changes a draft in place, so that the fold of a log takes as long as the log is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import Any

from embedding_store.entries import (
    AliasSet,
    AnyBody,
    CanaryWithdrawn,
    ConsumerRegistered,
    ConsumerRemoved,
    FrameOpened,
    FrameRetired,
    ModelAccepted,
    VersionArchived,
    VersionPublished,
    VersionRetired,
    VersionRolledBack,
    VersionsErased,
    parse,
)
from embedding_store.errors import NoVersionError
from embedding_store.state import Frame, ModelAcceptance, PublishedVersion, StoreState, Switch
from lake.log import Entry


def fold(entries: Iterable[Entry], as_of: datetime | None = None) -> StoreState:
    """Return the state that the entries imply, of those in effect at ``as_of`` (inclusive).

    Erasures are in effect at every instant. Raises UnknownEntryError for entries of a newer
    release, whatever their instant.
    """
    draft = _Draft()
    for entry in entries:
        _take(draft, entry, as_of)
    return draft.frozen()


class NewestState:
    """The fold of a log that grows: entries never change, so what was folded once stays folded."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._draft = _Draft()
        self._state = StoreState()

    def after(self, entries: Sequence[Entry]) -> StoreState:
        """Return the fold of the entries, or of more of them that another thread brought."""
        with self._lock:
            if len(entries) > self._state.seq:
                # taken out first: a draft that an entry could not be folded into is not folded on
                draft, self._draft = self._draft, _Draft()
                for entry in entries[draft.seq :]:
                    _take(draft, entry, None)
                self._draft, self._state = draft, draft.frozen()
            return self._state


@dataclass(slots=True)
class _Draft:
    """A state while it is being folded."""

    seq: int = 0
    models: list[ModelAcceptance] = field(default_factory=list)
    opened: dict[int, Frame] = field(default_factory=dict)
    versions: dict[int, PublishedVersion] = field(default_factory=dict)
    switches: list[Switch] = field(default_factory=list)
    stacks: dict[int, dict[int, None]] = field(default_factory=dict)
    """Ordered sets: a version is taken out from anywhere in one step."""
    left: dict[int, str] = field(default_factory=dict)
    canaries: dict[int, int] = field(default_factory=dict)
    consumers: dict[str, ConsumerRegistered] = field(default_factory=dict)
    erasures: list[VersionsErased] = field(default_factory=list)
    digests: dict[str, int] = field(default_factory=dict)
    holders: dict[str, list[int]] = field(default_factory=dict)
    """Version numbers by their digest now: a republished one may share it."""
    published: set[str] = field(default_factory=set)
    """Every digest of the log, whatever ``as_of``."""

    def frozen(self) -> StoreState:
        """Return a copy that no later entry changes."""
        return StoreState(
            seq=self.seq,
            models=tuple(self.models),
            opened=dict(self.opened),
            versions=dict(self.versions),
            switches=tuple(self.switches),
            stacks={frame: tuple(stack) for frame, stack in self.stacks.items()},
            left=dict(self.left),
            canaries=dict(self.canaries),
            consumers=dict(self.consumers),
            erasures=tuple(self.erasures),
            digests=dict(self.digests),
        )


def _take(draft: _Draft, entry: Entry, as_of: datetime | None) -> None:
    body = parse(entry)
    if isinstance(body, VersionPublished):
        draft.published.add(body.digest)
    elif isinstance(body, VersionsErased):
        _require_published(draft, entry, body)
    if as_of is None or isinstance(body, VersionsErased) or _instant(entry) <= as_of:
        _APPLY[type(body)](draft, entry, body)
    draft.seq = entry.seq


def _instant(entry: Entry) -> datetime:
    return datetime.fromisoformat(entry.effective_at)


def _named(draft: _Draft, entry: Entry, number: int, digest: str) -> PublishedVersion:
    version = draft.versions.get(number)
    is_its = draft.digests.get(digest) == number or number in draft.holders.get(digest, ())
    if version is not None and not is_its:
        raise NoVersionError(
            f"log entry {entry.seq} ({entry.kind}) names v{number} with the digest {digest[:12]}, "
            f"which is not that version's ({version.digest[:12]}): the log is damaged, restore it "
            "from a copy"
        )
    if version is None:
        raise NoVersionError(
            f"log entry {entry.seq} ({entry.kind}) names v{number}, which was not published before "
            "it: the log is damaged, restore it from a copy"
        )
    return version


def _accepted(draft: _Draft, entry: Entry, body: ModelAccepted) -> None:
    model = ModelAcceptance(
        seq=entry.seq,
        partition=body.partition,
        role=body.role,
        digest=body.digest,
        uri=body.uri,
        logical_id=body.logical_id,
        metrics=body.metrics,
        effective_at=_instant(entry),
    )
    draft.models.append(model)


def _published(draft: _Draft, entry: Entry, body: VersionPublished) -> None:
    version = PublishedVersion(
        seq=entry.seq,
        number=body.number,
        digest=body.digest,
        published_digest=body.digest,
        frame=body.frame,
        day=body.day,
        as_of=body.as_of,
        logical_id=body.logical_id,
        model_digest=body.model_digest,
        judged_against=body.judged_against,
        manifest_sha256=body.manifest_sha256,
        gate_sha256=body.gate_sha256,
        effective_at=_instant(entry),
    )
    first = Frame(number=body.frame, day=body.day, effective_at=_instant(entry))
    draft.opened.setdefault(body.frame, first)
    draft.versions[body.number] = version
    draft.digests[body.digest] = body.number
    draft.holders.setdefault(body.digest, []).append(body.number)


def _alias_set(draft: _Draft, entry: Entry, body: AliasSet) -> None:
    _named(draft, entry, body.number, body.version)
    switch = Switch(
        seq=entry.seq,
        alias=body.alias,
        frame=body.frame,
        number=body.number,
        effective_at=_instant(entry),
        judged_against=body.judged_against,
        is_rollback=False,
        why=body.reason,
    )
    draft.switches.append(switch)
    _bring_online(draft, body.number)
    if body.alias == "canary":
        draft.canaries[body.frame] = body.number
        return
    if draft.canaries.get(body.frame) == body.number:
        del draft.canaries[body.frame]
    stack = draft.stacks.setdefault(body.frame, {})
    stack.pop(body.number, None)  # one that returns rests on what came after it: drop its old place
    stack[body.number] = None
    draft.left.pop(body.number, None)


def _rolled_back(draft: _Draft, entry: Entry, body: VersionRolledBack) -> None:
    _named(draft, entry, body.to_number, body.to_version)
    stack = draft.stacks.get(body.frame, {})
    if body.to_number not in stack:
        raise NoVersionError(
            f"log entry {entry.seq} rolls frame {body.frame} back to v{body.to_number}, which was "
            "not stable before it: the log is damaged, restore it from a copy"
        )
    switch = Switch(
        seq=entry.seq,
        alias="stable",
        frame=body.frame,
        number=body.to_number,
        effective_at=_instant(entry),
        judged_against=None,
        is_rollback=True,
        why=entry.why,
    )
    draft.switches.append(switch)
    _bring_online(draft, body.to_number)
    while next(reversed(stack)) != body.to_number:
        draft.left[stack.popitem()[0]] = entry.why


def _bring_online(draft: _Draft, number: int) -> None:
    """Note that a version which was given a name has online rows."""
    draft.versions[number] = replace(draft.versions[number], is_archived=False)


def _withdrawn(draft: _Draft, entry: Entry, body: CanaryWithdrawn) -> None:
    version = _named(draft, entry, body.number, body.version)
    draft.versions[body.number] = replace(version, withdrawn_because=body.because)
    draft.left[body.number] = body.because
    if draft.canaries.get(body.frame) == body.number:
        del draft.canaries[body.frame]


def _archived(draft: _Draft, entry: Entry, body: VersionArchived) -> None:
    version = _named(draft, entry, body.number, body.version)
    draft.versions[body.number] = replace(version, is_archived=True)


def _retired(draft: _Draft, entry: Entry, body: VersionRetired) -> None:
    version = _named(draft, entry, body.number, body.version)
    draft.versions[version.number] = replace(version, is_retired=True)
    for stack in draft.stacks.values():
        stack.pop(version.number, None)
    for frame in [f for f, number in draft.canaries.items() if number == version.number]:
        del draft.canaries[frame]


def _frame_opened(draft: _Draft, entry: Entry, body: FrameOpened) -> None:
    draft.opened[body.frame] = Frame(
        number=body.frame,
        day=body.day,
        effective_at=_instant(entry),
        dim=body.dim,
        dtype=body.dtype,
        beside=body.beside,
        judged_against=body.judged_against,
        because=body.because,
    )


def _frame_retired(draft: _Draft, entry: Entry, body: FrameRetired) -> None:
    if body.frame not in draft.opened:
        raise NoVersionError(
            f"log entry {entry.seq} retires frame {body.frame}, which was not opened before it: "
            "the log is damaged, restore it from a copy"
        )
    draft.opened[body.frame] = replace(draft.opened[body.frame], is_retired=True)
    for number, version in draft.versions.items():
        if version.frame == body.frame:
            draft.versions[number] = replace(version, is_retired=True)
    draft.canaries.pop(body.frame, None)


def _registered(draft: _Draft, _: Entry, body: ConsumerRegistered) -> None:
    draft.consumers[body.name] = body


def _removed(draft: _Draft, _: Entry, body: ConsumerRemoved) -> None:
    draft.consumers.pop(body.name, None)


def _require_published(draft: _Draft, entry: Entry, body: VersionsErased) -> None:
    for before in body.replacements:
        if before not in draft.published:
            raise NoVersionError(
                f"log entry {entry.seq} erases from {before[:12]}, which was not published before "
                "it: the log is damaged, restore it from a copy"
            )
    draft.published.update(after["digest"] for after in body.replacements.values())


def _erased(draft: _Draft, _: Entry, body: VersionsErased) -> None:
    # all are taken out before one is put back: a digest after may be another's before
    moved = [
        (before, after, draft.holders.pop(before, []), draft.digests[before])
        for before, after in body.replacements.items()
        if before in draft.digests  # not of a version that is published after ``as_of``
    ]
    for before, after, numbers, number in moved:
        rewritten = [one for one in numbers if draft.versions[one].digest == before]
        for one in rewritten:
            draft.versions[one] = replace(
                draft.versions[one],
                digest=after["digest"],
                manifest_sha256=after["manifest_sha256"],
            )
        draft.holders.setdefault(after["digest"], []).extend(rewritten)
        draft.digests[after["digest"]] = number
    draft.erasures.append(body)


_APPLY: Mapping[type[AnyBody], Callable[[_Draft, Entry, Any], None]] = {
    ModelAccepted: _accepted,
    VersionPublished: _published,
    AliasSet: _alias_set,
    VersionRolledBack: _rolled_back,
    CanaryWithdrawn: _withdrawn,
    VersionArchived: _archived,
    VersionRetired: _retired,
    FrameOpened: _frame_opened,
    FrameRetired: _frame_retired,
    ConsumerRegistered: _registered,
    ConsumerRemoved: _removed,
    VersionsErased: _erased,
}
