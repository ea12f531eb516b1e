"""The state of the store, and what may be asked of it; ``folding`` makes it from the log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from embedding_store.entries import Alias, ConsumerRegistered, Role, VersionsErased
from embedding_store.errors import NoBaseModelError, NoVersionError
from lake.days import start_of


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
    is_archived: bool = False
    """Whether it has no online rows; whoever names it again brings them back."""
    withdrawn_because: str = ""
    """Why it may not become ``stable`` by itself; empty unless its trial failed."""

    @property
    def name(self) -> str:
        """What people and features call it: ``v3``."""
        return f"v{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A coordinate system that versions are published in."""

    number: int
    day: str
    """Of its first vectors."""
    effective_at: datetime
    dim: int | None = None
    """None of a store's first frame: its versions say it, and its dtype."""
    dtype: str | None = None
    beside: int | None = None
    """The frame that it was opened beside; None of a store's first."""
    judged_against: str | None = None
    because: str = "the store's first version"
    is_retired: bool = False


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
    left: Mapping[int, str] = field(default_factory=dict)
    """Why, by number: versions that were rolled back from or withdrawn, and not promoted since."""
    canaries: Mapping[int, int] = field(default_factory=dict)
    consumers: Mapping[str, ConsumerRegistered] = field(default_factory=dict)
    erasures: tuple[VersionsErased, ...] = ()
    """All of them, whatever ``as_of``: what was erased is gone for every instant."""
    digests: Mapping[str, int] = field(default_factory=dict)
    """Version number by every digest that it ever had."""
    opened: Mapping[int, Frame] = field(default_factory=dict)
    """Frames by number, also retired ones and one whose first version is still to come."""

    def base_of_day(self, day: str) -> ModelAcceptance:
        """Return the model that a day starts from: the newest one accepted by its first instant.

        At the same instant a monthly base comes before a daily model, and a later entry before an
        earlier one. A model whose version was rolled back from or withdrawn is passed over, as long
        as it is.
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
        A model whose version was rolled back from or withdrawn is none, as long as it is.
        """
        return max(
            self._trusted(at=at),
            key=lambda one: (one.role == "daily", one.effective_at, one.seq),
            default=None,
        )

    def _trusted(self, *, at: datetime | None) -> list[ModelAcceptance]:
        """Return the models accepted by ``at`` whose versions were not left since.

        One that a version in use shares is trusted: what disappointed was not the model.
        """
        standing = {number for stack in self.stacks.values() for number in stack}
        distrusted = {self.versions[number].model_digest for number in self.left}
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

    @property
    def live_frames(self) -> tuple[int, ...]:
        """Frames with a published version that are not retired."""
        return tuple(one for one in self.frames if not self.is_retired(one))

    @property
    def current_frame(self) -> int | None:
        """The newest frame that is not retired, also one that serves nothing yet; None at first."""
        return max((one.number for one in self.opened.values() if not one.is_retired), default=None)

    @property
    def served_frame(self) -> int | None:
        """The newest frame that has a ``stable`` version: of new days, and of who names none."""
        return max((one for one in self.frames if self.stable(one)), default=None)

    @property
    def next_frame(self) -> int:
        """The number of the frame that is opened next; right only without an ``as_of``."""
        return max(self.opened, default=0) + 1

    def is_retired(self, frame: int) -> bool:
        """Return whether a frame was opened and is retired."""
        return frame in self.opened and self.opened[frame].is_retired

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
        """Return what the frame's consumers read; None before the first promotion and once retired.

        What a retired frame rested on stays known: its models were not rolled back from.
        """
        stack = () if self.is_retired(frame) else self.stacks.get(frame, ())
        return self.versions[stack[-1]] if stack else None

    def previous(self, frame: int) -> PublishedVersion | None:
        """Return what a rollback of the frame returns to, or None."""
        stack = () if self.is_retired(frame) else self.stacks.get(frame, ())
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

    def online_versions(self, frame: int) -> tuple[PublishedVersion, ...]:
        """Return the frame's live versions that look-ups are answered from, by number."""
        named = self.named_versions(frame)
        live = self.live_versions(frame)
        return tuple(one for one in live if not one.is_archived or one.number in named)

    def named_versions(self, frame: int) -> frozenset[int]:
        """Return the numbers of the versions that an alias of the frame means now."""
        named = (self.stable(frame), self.canary(frame), self.previous(frame))
        return frozenset(one.number for one in named if one is not None)

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
