"""The state of the store: the fold of the commit log, and nothing else.

::

    entries ──fold(as_of)──► StoreState: accepted models, versions, switches of aliases, consumers

Entries are folded in the log's own order; those that take effect after ``as_of`` are left out.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from embedding_store.entries import (
    Alias,
    AliasSet,
    AnyBody,
    ConsumerRegistered,
    ModelAccepted,
    Role,
    VersionPublished,
    VersionRetired,
    VersionRolledBack,
    VersionsErased,
    parse,
)
from embedding_store.errors import NoBaseModelError, NoVersionError
from lake.days import start_of
from lake.log import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAcceptance:
    """A model that may serve from ``effective_at`` on."""

    seq: int
    partition: str
    role: Role
    digest: str
    uri: str
    logical_id: str
    metrics: Mapping[str, Any]
    effective_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedVersion:
    """One published set of user and item embeddings."""

    seq: int
    number: int
    digest: str
    published_digest: str
    """The digest that the gates judged; ``digest`` differs from it after an erasure."""
    frame: int
    day: str
    as_of: str
    logical_id: str
    model_digest: str
    judged_against: str | None
    manifest_sha256: str
    gate_sha256: str
    effective_at: datetime
    is_retired: bool = False

    @property
    def name(self) -> str:
        """What people and features call it: ``v3``."""
        return f"v{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """From ``effective_at`` on, ``alias`` of ``frame`` means version ``number``."""

    seq: int
    alias: Alias
    frame: int
    number: int
    effective_at: datetime
    judged_against: str | None
    is_rollback: bool
    why: str


@dataclass(frozen=True, slots=True)
class StoreState:
    """What holds after ``seq`` entries of the log, as of the instant it was folded for."""

    seq: int = 0
    models: tuple[ModelAcceptance, ...] = ()
    versions: Mapping[int, PublishedVersion] = field(default_factory=dict)
    switches: tuple[Switch, ...] = ()
    stacks: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """By frame: the versions that ``stable`` rests on, the current one last."""
    canaries: Mapping[int, int] = field(default_factory=dict)
    consumers: Mapping[str, ConsumerRegistered] = field(default_factory=dict)
    erasures: tuple[VersionsErased, ...] = ()
    """All of them, whatever ``as_of``: what was erased is gone for every instant."""
    digests: Mapping[str, int] = field(default_factory=dict)
    """Version number by every digest that it ever had."""

    def base_of_day(self, day: str) -> ModelAcceptance:
        """Return the model that a day starts from: the newest one accepted by its first instant.

        At the same instant a monthly base comes before a daily model, and a later entry before an
        earlier one. A model whose version was rolled back from is passed over, as long as it is.
        Raises NoBaseModelError, naming the command to run.
        """
        start = start_of(day)
        known = self._trusted(at=start)
        if not known:
            month = (start.replace(day=1) - timedelta(days=1)).strftime("%Y-%m-01")
            raise NoBaseModelError(
                f"no model is accepted for {day}: run `marquee run {month} --job "
                "monthly_pretraining` first"
            )
        return max(known, key=lambda one: (one.effective_at, one.role == "base", one.seq))

    def champion(self, *, at: datetime | None = None) -> ModelAcceptance | None:
        """Return the newest daily model accepted by ``at``, or the newest base before the first.

        A base is not served before a day's model proved it: only a quality gate makes a champion.
        A model whose version was rolled back from is none, as long as it is.
        """
        return max(
            self._trusted(at=at),
            key=lambda one: (one.role == "daily", one.effective_at, one.seq),
            default=None,
        )

    def _trusted(self, *, at: datetime | None) -> list[ModelAcceptance]:
        """Return the models accepted by ``at`` that nobody rolled back from since."""
        standing = {number for stack in self.stacks.values() for number in stack}
        left = {one.number for one in self.switches if one.alias == "stable"} - standing
        distrusted = {self.versions[number].model_digest for number in left}
        distrusted -= {self.versions[number].model_digest for number in standing}
        return [
            model
            for model in self.models
            if (at is None or model.effective_at <= at) and model.digest not in distrusted
        ]

    def accepted(self, logical_id: str) -> ModelAcceptance | None:
        """Return the newest acceptance of that work, or None."""
        found = [model for model in self.models if model.logical_id == logical_id]
        return found[-1] if found else None

    @property
    def next_number(self) -> int:
        """The number of the version that is published next; right only without an ``as_of``."""
        return max(self.versions, default=0) + 1

    @property
    def frames(self) -> tuple[int, ...]:
        """Frames with a published version."""
        return tuple(sorted({version.frame for version in self.versions.values()}))

    def version(self, number: int) -> PublishedVersion:
        """Return a version by its number; raises NoVersionError."""
        try:
            return self.versions[number]
        except KeyError:
            known = ", ".join(f"v{one}" for one in sorted(self.versions)) or "none"
            raise NoVersionError(f"no version v{number} is published (there is: {known})") from None

    def version_of_day(self, day: str) -> PublishedVersion | None:
        """Return the newest version of a day that is not retired, or None."""
        found = [
            version
            for version in self.versions.values()
            if version.day == day and not version.is_retired
        ]
        return max(found, key=lambda version: version.number, default=None)

    def newest_of_day(self, day: str, *, logical_id: str | None = None) -> PublishedVersion | None:
        """Return the newest version of a day, retired or not, of certain work or of any."""
        found = [
            version
            for version in self.versions.values()
            if version.day == day and logical_id in {None, version.logical_id}
        ]
        return max(found, key=lambda version: version.number, default=None)

    def stable(self, frame: int) -> PublishedVersion | None:
        """Return what the frame's consumers read, or None before the first promotion."""
        stack = self.stacks.get(frame, ())
        return self.versions[stack[-1]] if stack else None

    def previous(self, frame: int) -> PublishedVersion | None:
        """Return what a rollback of the frame returns to, or None."""
        stack = self.stacks.get(frame, ())
        return self.versions[stack[-2]] if len(stack) > 1 else None

    def canary(self, frame: int) -> PublishedVersion | None:
        """Return the version on trial, or None; one that became stable is no longer on trial."""
        number = self.canaries.get(frame)
        return None if number is None else self.versions[number]

    def live_versions(self, frame: int) -> tuple[PublishedVersion, ...]:
        """Return the frame's versions that are not retired, by number."""
        return tuple(
            version
            for _, version in sorted(self.versions.items())
            if version.frame == frame and not version.is_retired
        )

    def stable_switches(self, frame: int) -> tuple[Switch, ...]:
        """Return every switch of the frame's ``stable``, rollbacks included, in order."""
        return tuple(one for one in self.switches if one.frame == frame and one.alias == "stable")

    def served(self, frame: int) -> list[tuple[datetime, PublishedVersion]]:
        """Return what ``stable`` meant from which instant on."""
        return [
            (switch.effective_at, self.versions[switch.number])
            for switch in self.stable_switches(frame)
        ]

    @property
    def erased_users(self) -> frozenset[str]:
        """Keyed hashes of the users that no version may hold."""
        return frozenset(user for one in self.erasures for user in one.users)

    def current_digest(self, digest: str) -> str:
        """Return what a version's digest is now; one that was never published is its own."""
        number = self.digests.get(digest)
        return digest if number is None else self.versions[number].digest

    def is_same(self, digest: str | None, version: PublishedVersion | None) -> bool:
        """Return whether a digest names the version, also by a digest from before an erasure."""
        if digest is None or version is None:
            return digest is None and version is None
        return self.digests.get(digest) == version.number


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
    return replace(
        state,
        versions={**state.versions, body.number: version},
        digests={**state.digests, body.digest: body.number},
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


def _registered(state: StoreState, _: Entry, body: ConsumerRegistered) -> StoreState:
    return replace(state, consumers={**state.consumers, body.name: body})


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
    ConsumerRegistered: _registered,
    VersionsErased: _erased,
}
