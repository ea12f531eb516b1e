"""Publishing: the only code that appends to the log.

::

    publish:  stage ─► verify ─► gate record ─► log: version_published
    promote:  log: alias_set ─► served history           rollback:  log ─► served history

Each decision is made on a fold and appended behind it (``after_seq``): when somebody else appended
in between, it is made again on the new fold, so two publishers cannot both win. Every call can be
killed anywhere and run again.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from embedding_store.entries import (
    ALIASES,
    ROLES,
    Alias,
    AliasSet,
    AnyBody,
    ConsumerRegistered,
    ModelAccepted,
    VersionPublished,
    VersionRetired,
    VersionRolledBack,
    to_body,
)
from embedding_store.errors import (
    AlreadyPublishedError,
    NoVersionError,
    PublicationRefusedError,
    StableMovedError,
)
from embedding_store.gates import (
    GatePolicy,
    QualityComparison,
    evidence_of,
    judge,
    published_record,
    require_passed,
)
from embedding_store.history import rebuild
from embedding_store.manifest import Origin
from embedding_store.staging import ActiveUsers, stage
from embedding_store.state import ModelAcceptance, PublishedVersion, StoreState, Switch
from embedding_store.store import EmbeddingStore
from embedding_store.transform import STABILISATION_FILE, Stabilisation
from embedding_store.versions import Version, open_version
from lake.digests import digest_bytes
from lake.errors import LogMovedError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the gates look at, besides the vectors."""

    active_users: ActiveUsers
    quality: QualityComparison | None
    """None only while there is no champion: for the store's first version."""
    policy: GatePolicy = field(default_factory=GatePolicy)


@dataclass(frozen=True, slots=True)
class Publication:
    """A published version, and whether it was already there."""

    version: PublishedVersion
    is_existing: bool


@dataclass(frozen=True, slots=True)
class Promotion:
    """A switch of an alias, and whether the log already held it."""

    switch: Switch
    is_existing: bool


@dataclass(frozen=True)
class Publisher:
    """Somebody who may publish; ``by`` is their name in the log."""

    store: EmbeddingStore
    by: str

    def accept_model(
        self,
        model: ModelAccepted,
        *,
        effective_at: datetime,
        why: str,
    ) -> ModelAcceptance:
        """Let a model serve from ``effective_at`` on; the same work is accepted once."""
        if model.role not in ROLES:
            raise PublicationRefusedError(f"role: want one of {ROLES}, got {model.role!r}")

        def decide(state: StoreState) -> ModelAccepted | None:
            held = state.accepted(model.logical_id)
            is_held = held and (held.digest, held.effective_at) == (model.digest, effective_at)
            return None if is_held else model

        self._append(decide, effective_at, why)
        accepted = self.store.state().accepted(model.logical_id)
        assert accepted is not None
        return accepted

    def publish(
        self,
        stabilised: Path,
        *,
        origin: Origin,
        evidence: Evidence,
        effective_at: datetime,
        why: str,
        republish: bool = False,
    ) -> Publication:
        """Publish a ``stabilised_embeddings`` folder as the day's version, without naming it yet.

        The same work of the same day is published once: then the existing version is returned.

        Raises:
            AlreadyPublishedError: the day has a version of other work; ``republish`` makes another.
            StableMovedError: the vectors were not stabilised onto the frame's ``stable``.
            PublicationRefusedError: a gate failed, now or in an earlier run.
            ContractError: the vectors break the contract.
        """
        transform = Stabilisation.read(stabilised / STABILISATION_FILE)

        def check(state: StoreState) -> PublishedVersion | None:
            held = _held(state, origin, republish=republish)
            if held is None:
                _check_stable(state, transform.frame, transform.reference)
            return held

        if held := check(self.store.state()):
            return Publication(held, is_existing=True)
        version = stage(self.store, stabilised, origin=origin, active_users=evidence.active_users)
        version.verify()
        gate_sha256 = self._judge(version, evidence)

        def decide(state: StoreState) -> VersionPublished | None:
            if check(state):
                return None
            return VersionPublished(
                digest=version.digest,
                number=state.next_number,
                frame=transform.frame,
                day=origin.day,
                as_of=origin.as_of,
                logical_id=origin.logical_id,
                model_digest=origin.model_digest,
                judged_against=transform.reference,
                manifest_sha256=digest_bytes(version.manifest.to_bytes()),
                gate_sha256=gate_sha256,
            )

        is_ours = self._append(decide, effective_at, why)
        logger.info("step publication-logged: %s", version.digest)
        published = self.store.state().version_of_day(origin.day)
        assert published is not None
        return Publication(published, is_existing=not is_ours)

    def promote(
        self,
        alias: Alias,
        number: int,
        *,
        judged_against: str | None,
        effective_at: datetime,
        why: str,
        again: bool = False,
    ) -> Promotion:
        """Let ``alias`` of the version's frame mean the version from ``effective_at`` on.

        A promotion that the log already holds is returned, also when ``stable`` moved on since:
        running a day again changes nothing. ``again`` promotes a version that was rolled back.

        Raises:
            StableMovedError: ``stable`` is no longer the version with digest ``judged_against``.
            PublicationRefusedError: retired, no passed gate record, or an instant that is not
                after the frame's last switch.
        """
        if alias not in ALIASES:
            raise PublicationRefusedError(f"alias: want one of {ALIASES}, got {alias!r}")

        def decide(state: StoreState) -> AliasSet | None:
            version = state.version(number)
            if _is_promoted(state, alias, version, again=again):
                return None
            _check_stable(state, version.frame, judged_against)
            _check_promotable(state, version, effective_at)
            _check_gates(self.store, version)
            self.open(version).verify()
            return AliasSet(
                alias=alias,
                frame=version.frame,
                version=version.digest,
                number=number,
                judged_against=judged_against,
                reason=why,
            )

        is_ours = self._append(decide, effective_at, why)
        logger.info("step promotion-logged: %s", number)
        state = self.store.state()
        switch = _last_switch(state, alias, number)
        if alias == "stable":
            rebuild(self.store, switch.frame)
        return Promotion(switch, is_existing=not is_ours)

    def rollback(
        self, frame: int, *, to: int | None = None, effective_at: datetime, why: str
    ) -> Switch:
        """Return ``stable`` of the frame to a version that it was before, byte for byte.

        ``to`` defaults to the version that ``stable`` rested on; rolling back twice goes back two.
        """
        start = self.store.state().stable(frame)

        def decide(state: StoreState) -> VersionRolledBack | None:
            current = state.stable(frame)
            if current is None or start is None:
                raise NoVersionError(f"frame {frame} has no stable version to roll back")
            if current.number != start.number:
                raise StableMovedError(
                    f"stable of frame {frame} moved to {current.name} meanwhile: ask again"
                )
            target = _rollback_target(state, frame, to)
            if target.number == current.number:
                return None
            _check_after_last_switch(state, frame, effective_at)
            self.open(target).verify()
            return VersionRolledBack(
                frame=frame,
                from_number=current.number,
                to_number=target.number,
                to_version=target.digest,
            )

        self._append(decide, effective_at, why)
        logger.info("step rollback-logged: %s", frame)
        rebuild(self.store, frame)
        return self.store.state().stable_switches(frame)[-1]

    def retire(self, number: int, *, effective_at: datetime, why: str) -> PublishedVersion:
        """Take a version out of use for good; refuses what an alias still means."""

        def decide(state: StoreState) -> VersionRetired | None:
            version = state.version(number)
            if version.is_retired:
                return None
            for alias in (state.stable(version.frame), state.canary(version.frame)):
                if alias is not None and alias.number == number:
                    raise PublicationRefusedError(
                        f"{version.name} is in use in frame {version.frame}: promote another "
                        "version, or roll back, first"
                    )
            return VersionRetired(number=number, version=version.digest)

        self._append(decide, effective_at, why)
        return self.store.state().version(number)

    def register_consumer(
        self, consumer: ConsumerRegistered, *, effective_at: datetime, why: str
    ) -> None:
        """Note that somebody reads a frame; the same note twice is one."""

        def decide(state: StoreState) -> ConsumerRegistered | None:
            return None if state.consumers.get(consumer.name) == consumer else consumer

        self._append(decide, effective_at, why)

    def open(self, version: PublishedVersion) -> Version:
        """Return the version's folder, its manifest proven."""
        return open_version(
            self.store.version_folder(version.digest), manifest_sha256=version.manifest_sha256
        )

    def _judge(self, version: Version, evidence: Evidence) -> str:
        """Return the sha256 of the passed record, as it lies on the disk."""
        reference = version.manifest.reference
        judge(
            self.store,
            version,
            reference=None if reference is None else self._reference(reference),
            quality=evidence.quality,
            policy=evidence.policy,
        )
        basis = evidence_of(version, evidence.quality, evidence.policy)
        _, sha256 = require_passed(self.store, version.digest, basis)
        return sha256

    def _reference(self, digest: str) -> Version:
        return open_version(self.store.version_folder(digest))

    def _append(
        self, decide: Callable[[StoreState], AnyBody | None], effective_at: datetime, why: str
    ) -> bool:
        """Append what ``decide`` says of the newest state; return False when it says nothing."""
        while True:
            state = self.store.state()
            body = decide(state)
            if body is None:
                return False
            try:
                self.store.log.append(
                    body.kind,
                    to_body(body),
                    effective_at=effective_at,
                    by=self.by,
                    why=why,
                    after_seq=state.seq,
                )
            except LogMovedError:
                logger.info("the log moved behind entry %s: deciding again", state.seq)
            else:
                return True


def _held(state: StoreState, origin: Origin, *, republish: bool) -> PublishedVersion | None:
    """Return the day's version of the same work; refuse another one unless asked for."""
    newest = state.version_of_day(origin.day)
    if newest is None:
        return None
    if newest.logical_id == origin.logical_id:
        return newest
    if not republish:
        raise AlreadyPublishedError(
            f"{origin.day} is already published as {newest.name}, from other inputs: what is "
            "published stays; publish(..., republish=True) makes another version of that day"
        )
    return None


def _check_stable(state: StoreState, frame: int, judged_against: str | None) -> None:
    stable = state.stable(frame)
    if not state.is_same(judged_against, stable):
        raise StableMovedError(
            f"stable of frame {frame} is {stable.name if stable else 'not set'}, this was judged "
            f"against {judged_against[:12] if judged_against else 'nothing'}: stabilise and gate "
            "again"
        )


def _check_promotable(state: StoreState, version: PublishedVersion, effective_at: datetime) -> None:
    if version.is_retired:
        raise PublicationRefusedError(f"{version.name} is retired: publish another version")
    if effective_at < version.effective_at:
        raise PublicationRefusedError(
            f"{version.name} is published from {version.effective_at.isoformat()} on, it cannot be "
            f"promoted at {effective_at.isoformat()}"
        )
    _check_after_last_switch(state, version.frame, effective_at)


def _check_gates(store: EmbeddingStore, version: PublishedVersion) -> None:
    record = published_record(store, version)
    if record.digest != version.published_digest or not record.is_passed:
        raise PublicationRefusedError(f"the gate record of {version.name} does not let it pass")


def _check_after_last_switch(state: StoreState, frame: int, effective_at: datetime) -> None:
    """What was served does not change afterwards, and no two versions at one instant."""
    switches = state.stable_switches(frame)
    if switches and effective_at <= switches[-1].effective_at:
        raise PublicationRefusedError(
            f"frame {frame} switched at {switches[-1].effective_at.isoformat()}: what was served "
            f"until then stays as it is, choose an instant after it, not {effective_at.isoformat()}"
        )


def _is_promoted(
    state: StoreState, alias: Alias, version: PublishedVersion, *, again: bool
) -> bool:
    current = state.stable(version.frame) if alias == "stable" else state.canary(version.frame)
    if current is not None and current.number == version.number:
        return True
    return not again and any(
        (switch.alias, switch.number) == (alias, version.number) and not switch.is_rollback
        for switch in state.switches
    )


def _last_switch(state: StoreState, alias: Alias, number: int) -> Switch:
    return [one for one in state.switches if (one.alias, one.number) == (alias, number)][-1]


def _rollback_target(state: StoreState, frame: int, to: int | None) -> PublishedVersion:
    if to is None:
        previous = state.previous(frame)
        if previous is None:
            raise NoVersionError(
                f"frame {frame} has no version before the stable one to roll back to"
            )
        return previous
    if to not in state.stacks.get(frame, ()):
        raise PublicationRefusedError(
            f"{state.version(to).name} is not among the versions that stable of frame {frame} "
            "rests on: see `marquee versions` for those that are"
        )
    return state.version(to)
