"""From the log to the state of the store, and nothing else.

::

    entries ──fold(as_of)──► StoreState: accepted models, versions, switches of aliases, consumers

Entries are folded in the log's own order; those that take effect after ``as_of`` are left out.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from embedding_store.entries import (
    AliasSet,
    AnyBody,
    ConsumerRegistered,
    ConsumerRemoved,
    FrameOpened,
    FrameRetired,
    ModelAccepted,
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
    state, published = StoreState(), set[str]()
    for entry in entries:
        body = parse(entry)
        if isinstance(body, VersionPublished):
            published.add(body.digest)
        elif isinstance(body, VersionsErased):
            published.update(_after(entry, body, published))
        if as_of is None or isinstance(body, VersionsErased) or _instant(entry) <= as_of:
            state = _APPLY[type(body)](state, entry, body)
        state = replace(state, seq=entry.seq)
    return state


def _instant(entry: Entry) -> datetime:
    return datetime.fromisoformat(entry.effective_at)


def _named(state: StoreState, entry: Entry, number: int, digest: str) -> PublishedVersion:
    version = state.versions.get(number)
    if version is not None and state.digests.get(digest) != number:
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


def _accepted(state: StoreState, entry: Entry, body: ModelAccepted) -> StoreState:
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
    return replace(state, models=(*state.models, model))


def _published(state: StoreState, entry: Entry, body: VersionPublished) -> StoreState:
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
    return replace(
        state,
        versions={**state.versions, body.number: version},
        digests={**state.digests, body.digest: body.number},
        opened={body.frame: first, **state.opened},
    )


def _alias_set(state: StoreState, entry: Entry, body: AliasSet) -> StoreState:
    _named(state, entry, body.number, body.version)
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
    state = replace(state, switches=(*state.switches, switch))
    if body.alias == "canary":
        return replace(state, canaries={**state.canaries, body.frame: body.number})
    canaries = {f: n for f, n in state.canaries.items() if (f, n) != (body.frame, body.number)}
    # a version that returns to stable rests on what came after it: drop its older place
    below = tuple(n for n in state.stacks.get(body.frame, ()) if n != body.number)
    stacks = {**state.stacks, body.frame: (*below, body.number)}
    return replace(state, stacks=stacks, canaries=canaries)


def _rolled_back(state: StoreState, entry: Entry, body: VersionRolledBack) -> StoreState:
    _named(state, entry, body.to_number, body.to_version)
    stack = state.stacks.get(body.frame, ())
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
    kept = stack[: stack.index(body.to_number) + 1]
    return replace(
        state,
        switches=(*state.switches, switch),
        stacks={**state.stacks, body.frame: kept},
    )


def _retired(state: StoreState, entry: Entry, body: VersionRetired) -> StoreState:
    version = _named(state, entry, body.number, body.version)
    stacks = {
        frame: tuple(number for number in stack if number != version.number)
        for frame, stack in state.stacks.items()
    }
    versions = {**state.versions, version.number: replace(version, is_retired=True)}
    canaries = {f: number for f, number in state.canaries.items() if number != version.number}
    return replace(state, versions=versions, stacks=stacks, canaries=canaries)


def _frame_opened(state: StoreState, entry: Entry, body: FrameOpened) -> StoreState:
    frame = Frame(
        number=body.frame,
        day=body.day,
        effective_at=_instant(entry),
        dim=body.dim,
        dtype=body.dtype,
        beside=body.beside,
        judged_against=body.judged_against,
        because=body.because,
    )
    return replace(state, opened={**state.opened, body.frame: frame})


def _frame_retired(state: StoreState, entry: Entry, body: FrameRetired) -> StoreState:
    if body.frame not in state.opened:
        raise NoVersionError(
            f"log entry {entry.seq} retires frame {body.frame}, which was not opened before it: "
            "the log is damaged, restore it from a copy"
        )
    frame = replace(state.opened[body.frame], is_retired=True)
    versions = {
        number: replace(one, is_retired=one.is_retired or one.frame == body.frame)
        for number, one in state.versions.items()
    }
    canaries = {one: number for one, number in state.canaries.items() if one != body.frame}
    opened = {**state.opened, body.frame: frame}
    return replace(state, opened=opened, versions=versions, canaries=canaries)


def _registered(state: StoreState, _: Entry, body: ConsumerRegistered) -> StoreState:
    return replace(state, consumers={**state.consumers, body.name: body})


def _removed(state: StoreState, _: Entry, body: ConsumerRemoved) -> StoreState:
    left = {name: one for name, one in state.consumers.items() if name != body.name}
    return replace(state, consumers=left)


def _after(entry: Entry, body: VersionsErased, published: Collection[str]) -> list[str]:
    for before in body.replacements:
        if before not in published:
            raise NoVersionError(
                f"log entry {entry.seq} erases from {before[:12]}, which was not published before "
                "it: the log is damaged, restore it from a copy"
            )
    return [after["digest"] for after in body.replacements.values()]


def _erased(state: StoreState, _: Entry, body: VersionsErased) -> StoreState:
    versions = dict(state.versions)
    for number, version in state.versions.items():  # a republished one may share its digest
        if after := body.replacements.get(version.digest):
            versions[number] = replace(
                version, digest=after["digest"], manifest_sha256=after["manifest_sha256"]
            )
    digests = {
        **state.digests,
        **{
            after["digest"]: state.digests[before]
            for before, after in body.replacements.items()
            if before in state.digests  # not of a version that is published after ``as_of``
        },
    }
    return replace(state, versions=versions, digests=digests, erasures=(*state.erasures, body))


_APPLY: Mapping[type[AnyBody], Callable[[StoreState, Entry, Any], StoreState]] = {
    ModelAccepted: _accepted,
    VersionPublished: _published,
    AliasSet: _alias_set,
    VersionRolledBack: _rolled_back,
    VersionRetired: _retired,
    FrameOpened: _frame_opened,
    FrameRetired: _frame_retired,
    ConsumerRegistered: _registered,
    ConsumerRemoved: _removed,
    VersionsErased: _erased,
}
