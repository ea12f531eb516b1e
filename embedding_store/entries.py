"""The kinds of entries in the commit log, each with a typed body.

Bodies are strict in both directions: a field that is missing or unknown means that another release
wrote the entry, and guessing would fork the state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal

from embedding_store.errors import UnknownEntryError
from embedding_store.field_types import odd_field
from lake.log import Entry

Role = Literal["base", "daily"]
Alias = Literal["stable", "canary"]

ROLES: tuple[Role, ...] = ("base", "daily")
ALIASES: tuple[Alias, ...] = ("stable", "canary")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAccepted:
    """A model may serve from the entry's instant on: the instant it was trained through."""

    kind: ClassVar[str] = "model_accepted"
    partition: str
    role: Role
    digest: str
    uri: str
    logical_id: str
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPublished:
    """A version passed its gates and may be given a name."""

    kind: ClassVar[str] = "version_published"
    digest: str
    number: int
    frame: int
    day: str
    as_of: str
    logical_id: str
    model_digest: str
    judged_against: str | None
    """Digest of the version that it was stabilised onto and gated against; None opens a frame."""
    manifest_sha256: str
    gate_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasSet:
    """From the entry's instant on, an alias of a frame means this version."""

    kind: ClassVar[str] = "alias_set"
    alias: Alias
    frame: int
    version: str
    number: int
    judged_against: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRolledBack:
    """``stable`` of a frame returns to a version that it was before."""

    kind: ClassVar[str] = "version_rolled_back"
    frame: int
    from_number: int
    to_number: int
    to_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryWithdrawn:
    """A version on trial disappointed somebody: it becomes ``stable`` on a person's word only."""

    kind: ClassVar[str] = "canary_withdrawn"
    frame: int
    number: int
    version: str
    because: str
    """What was measured and what was wanted, by consumer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionArchived:
    """A version has no online rows from here on; its files stay. A new name brings it back."""

    kind: ClassVar[str] = "version_archived"
    number: int
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRetired:
    """A version may never be given a name again."""

    kind: ClassVar[str] = "version_retired"
    number: int
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameOpened:
    """Another coordinate system, which new days are published in from the entry's instant on.

    A store's first frame has none: its first version opens it.
    """

    kind: ClassVar[str] = "frame_opened"
    frame: int
    dim: int
    dtype: str
    beside: int
    """The frame that the vectors could not be brought into, which goes on."""
    judged_against: str
    """Digest of its ``stable`` version, which they were measured against."""
    day: str
    """Of the vectors that opened it."""
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRetired:
    """A frame has no names any more and none of its versions may be given one."""

    kind: ClassVar[str] = "frame_retired"
    frame: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerRegistered:
    """Somebody reads a frame, so it may not be retired."""

    kind: ClassVar[str] = "consumer_registered"
    name: str
    frame: int
    contact: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerRemoved:
    """Somebody reads no frame any more."""

    kind: ClassVar[str] = "consumer_removed"
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionsErased:
    """Users are in no version from here on; triggers nothing.

    One entry for all versions: it does not tell which of them held whom.
    """

    kind: ClassVar[str] = "versions_erased"
    key: str
    """Fingerprint of the key of the hashes."""
    users: Sequence[str]
    """Keyed hashes: no version that has one of them may be published any more."""
    replacements: Mapping[str, Mapping[str, Any]]
    """By digest before: ``{"digest": ..., "manifest_sha256": ..., "rows": <how many less>}``."""


AnyBody = (
    ModelAccepted
    | VersionPublished
    | AliasSet
    | VersionRolledBack
    | CanaryWithdrawn
    | VersionArchived
    | VersionRetired
    | FrameOpened
    | FrameRetired
    | ConsumerRegistered
    | ConsumerRemoved
    | VersionsErased
)

KINDS: Mapping[str, type[AnyBody]] = {
    body.kind: body
    for body in (
        ModelAccepted,
        VersionPublished,
        AliasSet,
        VersionRolledBack,
        CanaryWithdrawn,
        VersionArchived,
        VersionRetired,
        FrameOpened,
        FrameRetired,
        ConsumerRegistered,
        ConsumerRemoved,
        VersionsErased,
    )
}


def to_body(body: AnyBody) -> dict[str, Any]:
    """Return the JSON form of a body."""
    return asdict(body)


def parse(entry: Entry) -> AnyBody:
    """Return the typed body of an entry; raises UnknownEntryError for a newer release's."""
    body = KINDS.get(str(entry.kind))
    if body is None:
        raise UnknownEntryError(
            f"log entry {entry.seq}: kind {entry.kind!r} is not known here, a newer release wrote "
            f"it: upgrade (this one reads {', '.join(sorted(KINDS))})"
        )
    want = {one.name for one in fields(body)}
    got = set(entry.body) if isinstance(entry.body, Mapping) else {str(entry.body)[:80]}
    if want != got:
        raise UnknownEntryError(
            f"log entry {entry.seq} ({entry.kind}): want the fields {sorted(want)}, got "
            f"{sorted(got)}: another release wrote it, upgrade"
        )
    if odd := odd_field(body, entry.body):
        raise UnknownEntryError(
            f"log entry {entry.seq} ({entry.kind}): {odd}: it is damaged, restore it from a copy, "
            "or another release wrote it, upgrade"
        )
    return body(**entry.body)
