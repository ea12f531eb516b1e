"""Publishing: the only code that appends to the log.

::

    publish:  stage ─► verify ─► gate record ─► [log: frame_opened] ─► log: version_published
    promote:  log: alias_set ─► served history           rollback:  log ─► served history
    withdraw, archive, retire:  log
    erase:    versions rewritten ─► log: versions_erased ─► served history ─► old files removed

Each decision is made on a fold and appended behind it (``after_seq``): when somebody else appended
in between, it is made again on the new fold, so two publishers cannot both win. Every call can be
killed anywhere and run again.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from embedding_store.alignment import misfit_of
from embedding_store.consumers import ConsumerNeeds, require_promises_kept
from embedding_store.decisions import (
    canary_to_withdraw,
    check_frame,
    check_stable,
    consumer_to_register,
    frame_to_retire,
    held_publication,
    version_to_archive,
    version_to_promote,
    version_to_retire,
    version_to_return_to,
)
from embedding_store.dtypes import DEFAULT_DTYPE
from embedding_store.entries import (
    ROLES,
    Alias,
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
    to_body,
)
from embedding_store.erasing import (
    due_erasure,
    erase_orphaned_history,
    remove_erased_versions,
    require_nobody_erased,
)
from embedding_store.errors import (
    CorruptVersionError,
    PublicationRefusedError,
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
from embedding_store.last_week import ConsumerTask
from embedding_store.manifest import Origin
from embedding_store.staging import ActiveUsers, require_dtype_of_frame, stage
from embedding_store.state import Frame, ModelAcceptance, PublishedVersion, StoreState, Switch
from embedding_store.store import EmbeddingStore
from embedding_store.transform import STABILISATION_FILE, Opening, Stabilisation
from embedding_store.versions import Version, open_version
from lake.digests import digest_bytes
from lake.errors import LogMovedError
from lake.log import Entry
from lake.tombstones import Tombstones

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the gates look at, besides the vectors."""

    active_users: ActiveUsers
    quality: QualityComparison | None
    """None only while there is no champion: for the store's first version."""
    policy: GatePolicy = field(default_factory=GatePolicy)
    consumer: ConsumerTask | None = None
    """None where the frame has no version of an earlier day."""


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
    consumers: Sequence[ConsumerNeeds] = ()
    """Whom a promotion must not break."""
    dtype: str = DEFAULT_DTYPE
    """How the vectors of what is published are stored: as those of the frame's other versions."""

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
        Vectors that say that they open a frame do so only when they cannot be brought into the one
        that days go to, as is measured here again.

        Raises:
            AlreadyPublishedError: the day has a version of other work; ``republish`` makes another.
            StableMovedError: the vectors were not stabilised onto the frame's ``stable``, or
                somebody else opened a frame meanwhile.
            ErasedUsersError: the vectors are of users who were erased since.
            PublicationRefusedError: a gate failed, now or in an earlier run, or the frame is of
                another dtype.
            ContractError: the vectors break the contract, or the dtype cannot hold them.
        """
        transform = Stabilisation.read(stabilised / STABILISATION_FILE)

        def check(state: StoreState) -> PublishedVersion | None:
            held = held_publication(state, origin, republish=republish)
            if held is None:
                check_frame(state, transform, origin.day)
                check_stable(state, transform.frame, transform.reference)
                require_dtype_of_frame(self.store, state, transform.frame, self.dtype)
            return held

        state = self.store.state()
        if held := check(state):
            return Publication(held, is_existing=True)
        remove_erased_versions(self.store, state)
        users = evidence.active_users
        version = stage(self.store, stabilised, origin=origin, active_users=users, dtype=self.dtype)
        require_nobody_erased(self.store, state, version)
        version.verify()
        gate_sha256 = self._judge(version, evidence)
        if transform.opens is not None:
            opening = self._opening(version, transform.opens, evidence.policy)
            self._open_frame(opening, is_held=check, effective_at=effective_at, why=why)

        def decide(state: StoreState) -> VersionPublished | None:
            if check(state):
                return None
            require_nobody_erased(self.store, state, version)
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
        state = self.store.state()  # in which it may be retired already
        published = state.newest_of_day(origin.day, logical_id=origin.logical_id)
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
        running a day again changes nothing. ``again`` promotes a version that was rolled back,
        also when ``stable`` is not what it was judged against; the log shows that it is not.

        Raises:
            StableMovedError: ``stable`` is no longer the version with digest ``judged_against``.
            PublicationRefusedError: retired, no passed gate record, an instant that is not after
                the frame's last switch, or less than a consumer of the frame relies on.
        """

        def decide(state: StoreState) -> AliasSet | None:
            version = version_to_promote(
                state,
                alias,
                number,
                judged_against=judged_against,
                effective_at=effective_at,
                again=again,
            )
            if version is None:
                return None
            _check_gates(self.store, version)
            self._prove(version)
            manifest = self.open(version).manifest
            require_promises_kept(self.consumers, version, manifest, serves_at=effective_at)
            return AliasSet(
                alias=alias,
                frame=version.frame,
                version=version.digest,
                number=number,
                judged_against=judged_against,
                reason=why,
            )

        ours = self._append(decide, effective_at, why)
        logger.info("step promotion-logged: %s", number)
        held = [one for one in self.store.state().switches if _is_of(one, alias, number)]
        switch = held[-1] if ours is None else _logged(held, ours)
        if alias == "stable":
            rebuild(self.store, switch.frame)
        return Promotion(switch, is_existing=ours is None)

    def rollback(
        self, frame: int, *, to: int | None = None, effective_at: datetime, why: str
    ) -> Switch:
        """Return ``stable`` of the frame to a version that it was before, byte for byte.

        ``to`` defaults to the version that ``stable`` rested on; rolling back twice goes back two.
        """
        stable = self.store.state().stable(frame)
        start = None if stable is None else stable.number

        def decide(state: StoreState) -> VersionRolledBack | None:
            target = version_to_return_to(state, frame, to, start=start, effective_at=effective_at)
            if target is None:
                return None
            self._prove(target)
            assert start is not None
            return VersionRolledBack(
                frame=frame,
                from_number=start,
                to_number=target.number,
                to_version=target.digest,
            )

        ours = self._append(decide, effective_at, why)
        logger.info("step rollback-logged: %s", frame)
        rebuild(self.store, frame)
        switches = self.store.state().stable_switches(frame)
        return switches[-1] if ours is None else _logged(switches, ours)

    def withdraw(
        self, number: int, *, because: str, effective_at: datetime, why: str
    ) -> PublishedVersion:
        """End the trial of a version that disappointed; it becomes stable on a person's word only.

        ``because`` says what was measured and what was wanted, by consumer.
        """

        def decide(state: StoreState) -> CanaryWithdrawn | None:
            version = canary_to_withdraw(state, number)
            if version is None:
                return None
            return CanaryWithdrawn(
                frame=version.frame, number=number, version=version.digest, because=because
            )

        self._append(decide, effective_at, why)
        return self.store.state().version(number)

    def archive(self, number: int, *, effective_at: datetime, why: str) -> PublishedVersion:
        """Take a version's online rows away; its files stay, and a name brings the rows back."""

        def decide(state: StoreState) -> VersionArchived | None:
            version = version_to_archive(state, number)
            if version is None:
                return None
            _require_unpinned(self.consumers, version)
            return VersionArchived(number=number, version=version.digest)

        self._append(decide, effective_at, why)
        return self.store.state().version(number)

    def retire(self, number: int, *, effective_at: datetime, why: str) -> PublishedVersion:
        """Take a version out of use for good, also one on trial; refuses the stable one."""

        def decide(state: StoreState) -> VersionRetired | None:
            version = version_to_retire(state, number)
            if version is None:
                return None
            _require_unpinned(self.consumers, version)
            return VersionRetired(number=number, version=version.digest)

        self._append(decide, effective_at, why)
        return self.store.state().version(number)

    def retire_frame(self, number: int, *, effective_at: datetime, why: str) -> Frame:
        """Take a frame out of use for good, with its versions; what it served stays joinable.

        Raises PublicationRefusedError while a registered consumer reads it, and of the frame that
        days go to.
        """
        readers = [one.name for one in self.consumers if one.frame == number]

        def decide(state: StoreState) -> FrameRetired | None:
            frame = frame_to_retire(state, number, readers, effective_at)
            return None if frame is None else FrameRetired(frame=number)

        self._append(decide, effective_at, why)
        return self.store.state().opened[number]

    def erase(
        self, tombstones: Tombstones, *, effective_at: datetime, why: str
    ) -> VersionsErased | None:
        """Take erased users out of every version; return what was logged, None when nothing was.

        Versions that were published meanwhile are rewritten as well, and of those that come later
        none may have these users. Readers are not disturbed: see ``EmbeddingStore.open``.

        Raises CorruptVersionError where a version is not as it was published.
        """

        def decide(state: StoreState) -> VersionsErased | None:
            return due_erasure(self.store, state, tombstones.read())

        is_ours = self._append(decide, effective_at, why)
        logger.info("step erasure-logged: %s", is_ours)
        rebuild(self.store)
        state = self.store.state()
        erase_orphaned_history(self.store, state)
        remove_erased_versions(self.store, state)
        self.store.sweep()
        return state.erasures[-1] if is_ours else None

    def register_consumer(
        self, consumer: ConsumerRegistered, *, effective_at: datetime, why: str
    ) -> None:
        """Note that somebody reads a frame; the same note twice is one.

        Raises PublicationRefusedError where the frame is retired.
        """
        self._append(lambda state: consumer_to_register(state, consumer), effective_at, why)

    def remove_consumer(self, name: str, *, effective_at: datetime, why: str) -> bool:
        """Note that somebody reads no frame any more; return False where none was noted."""

        def decide(state: StoreState) -> ConsumerRemoved | None:
            return ConsumerRemoved(name=name) if name in state.consumers else None

        return self._append(decide, effective_at, why) is not None

    def open(self, version: PublishedVersion) -> Version:
        """Return the version's folder, its manifest proven."""
        return self.store.open(version)

    def _prove(self, version: PublishedVersion) -> None:
        """Raise CorruptVersionError unless every file of the version is as it was published."""
        try:
            self.open(version).verify()
        except CorruptVersionError as error:
            raise CorruptVersionError(
                f"{version.name} cannot be served: {error}, or choose another version"
            ) from error

    def _judge(self, version: Version, evidence: Evidence) -> str:
        """Return the sha256 of the passed record, as it lies on the disk."""
        reference = version.manifest.reference
        judge(
            self.store,
            version,
            reference=None if reference is None else self._reference(reference),
            quality=evidence.quality,
            policy=evidence.policy,
            consumer=evidence.consumer,
        )
        basis = evidence_of(version, evidence.quality, evidence.policy, evidence.consumer)
        _, sha256 = require_passed(self.store, version.digest, basis)
        return sha256

    def _open_frame(
        self,
        opening: FrameOpened,
        *,
        is_held: Callable[[StoreState], object],
        effective_at: datetime,
        why: str,
    ) -> None:
        """Log that a frame is open, unless it is, or the work that opens it ``is_held`` already."""

        def decide(state: StoreState) -> FrameOpened | None:
            return None if is_held(state) or opening.frame in state.opened else opening

        if self._append(decide, effective_at, why):
            logger.warning(
                "frame %d is open beside frame %d, which gets no new days: %s",
                opening.frame,
                opening.beside,
                opening.because,
            )
        logger.info("step frame-logged: %s", opening.frame)

    def _opening(self, version: Version, opens: Opening, policy: GatePolicy) -> FrameOpened:
        """Return the entry that opens the version's frame; it says what is measured here.

        Raises PublicationRefusedError where the vectors can be brought into the frame beside it.
        """
        target = self._reference(opens.judged_against)
        misfit = misfit_of(version, target, min_item_cosine=policy.min_item_cosine)
        if misfit is None:
            raise PublicationRefusedError(
                f"the vectors can be brought into frame {opens.beside}, onto "
                f"{opens.judged_against[:12]}: they open no frame beside it, stabilise again"
            )
        return FrameOpened(
            frame=version.manifest.frame,
            dim=version.manifest.dim,
            dtype=version.manifest.dtype,
            beside=opens.beside,
            judged_against=opens.judged_against,
            day=version.manifest.origin.day,
            because=misfit.because,
        )

    def _reference(self, digest: str) -> Version:
        return open_version(self.store.version_folder(digest))

    def _append(
        self, decide: Callable[[StoreState], AnyBody | None], effective_at: datetime, why: str
    ) -> Entry | None:
        """Append what ``decide`` says of the newest state; return None when it says nothing."""
        while True:
            state = self.store.state()
            body = decide(state)
            if body is None:
                return None
            try:
                return self.store.log.append(
                    body.kind,
                    to_body(body),
                    effective_at=effective_at,
                    by=self.by,
                    why=why,
                    after_seq=state.seq,
                )
            except LogMovedError:
                logger.info("the log moved behind entry %s: deciding again", state.seq)


def _require_unpinned(consumers: Iterable[ConsumerNeeds], version: PublishedVersion) -> None:
    readers = [one.name for one in consumers if one.pins(version.frame, version.number)]
    if readers:
        raise PublicationRefusedError(
            f"{version.name} is pinned by {', '.join(readers)}: agree with them on another version "
            "first"
        )


def _check_gates(store: EmbeddingStore, version: PublishedVersion) -> None:
    record = published_record(store, version)
    if record.digest != version.published_digest or not record.is_passed:
        raise PublicationRefusedError(f"the gate record of {version.name} does not let it pass")


def _is_of(switch: Switch, alias: Alias, number: int) -> bool:
    return (switch.alias, switch.number) == (alias, number)


def _logged(switches: Sequence[Switch], entry: Entry) -> Switch:
    """Return the switch that an entry made; somebody else's may have come since."""
    return next(one for one in switches if one.seq == entry.seq)
