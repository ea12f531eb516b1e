"""What consumers of a frame were promised, and whether a version keeps it.

A registry of such promises stands between a version and its names: one that breaks what somebody
relies on is refused at its promotion, with their name. A rollback is not asked: it returns to what
has served before, and there is no time to discuss.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from typing import Any

from embedding_store.errors import ContractError, PublicationRefusedError
from embedding_store.manifest import Manifest
from embedding_store.state import PublishedVersion

FORMAT_VERSION = 1
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerNeeds:
    """What a service of a team reads, and what it relies on; raises ContractError, with the key."""

    team: str
    """Who answers for the service; letters, digits and hyphens."""
    service: str
    frame: int
    dim: int
    freshness_h: float
    """Hours from the data that a version has seen to the instant at which it starts to serve."""
    coverage: float
    """Least share of the active users who must have an embedding of their own."""
    found: float | None = None
    """Least share of the users that its look-ups find now which a canary must find too."""
    same_top_10: float | None = None
    """Least mean share of a user's ten best items that must stay from stable to canary."""
    pin: int | None = None
    """A version that it reads by number: kept online and never collected."""

    def __post_init__(self) -> None:
        """Prove every field."""
        for key in ("team", "service"):
            text = getattr(self, key)
            _require(
                key, text, isinstance(text, str) and _NAME.fullmatch(text), "such as home-page"
            )
        for key in ("frame", "dim"):
            number = getattr(self, key)
            is_whole = isinstance(number, int) and not isinstance(number, bool)
            _require(key, number, is_whole and number > 0, "a whole number above 0")
        _require("freshness_h", self.freshness_h, _is_above_zero(self.freshness_h), "hours above 0")
        shares = {"coverage": self.coverage, "found": self.found, "same_top_10": self.same_top_10}
        for key, share in shares.items():
            is_left_out = share is None and key != "coverage"
            is_share = _is_above_zero(share) and share is not None and share <= 1
            _require(key, share, is_left_out or is_share, "a share above 0, at most 1")
        if self.pin is not None:
            is_number = isinstance(self.pin, int) and not isinstance(self.pin, bool)
            _require("pin", self.pin, is_number and self.pin > 0, "the number of a version")

    @property
    def name(self) -> str:
        """What the log and errors call it."""
        return f"{self.team}/{self.service}"

    def pins(self, frame: int, number: int) -> bool:
        """Return whether it reads that version by its number."""
        return (self.frame, self.pin) == (frame, number)

    @classmethod
    def of(cls, value: Any, *, source: str) -> "ConsumerNeeds":
        """Return what a file holds, called ``source`` in errors; raises ContractError."""
        if not isinstance(value, Mapping):
            raise ContractError(f"{source}: want keys and values, got {value!r}")
        known = {"format_version", *(one.name for one in fields(cls))}
        for key in value:
            if key not in known:
                raise ContractError(f"{source}: unknown key {key!r} (known: {sorted(known)})")
        required = {one.name for one in fields(cls) if one.default is MISSING}
        for key in sorted({"format_version", *required}):
            if key not in value:
                raise ContractError(f"{source}: {key} is missing")
        given = dict(value)
        if (version := given.pop("format_version")) != FORMAT_VERSION:
            raise ContractError(f"{source}: format_version: want {FORMAT_VERSION}, got {version!r}")
        try:
            return cls(**given)
        except ContractError as error:
            raise ContractError(f"{source}: {error}") from error


def broken_promises(
    needs: ConsumerNeeds, manifest: Manifest, *, serves_at: datetime | None
) -> list[str]:
    """Return, in words, what a version of the consumer's frame breaks; nothing where it is kept.

    ``serves_at`` is the instant that its age is taken at; None leaves its age out.
    """
    broken = []
    if manifest.dim != needs.dim:
        broken.append(f"wants {needs.dim} dimensions, it has {manifest.dim}")
    if manifest.coverage.share < needs.coverage:
        broken.append(
            f"wants {needs.coverage:.1%} of the active users, it has {manifest.coverage.share:.1%}"
        )
    if serves_at is not None:
        age_h = (serves_at - datetime.fromisoformat(manifest.origin.as_of)).total_seconds() / 3600
        if age_h > needs.freshness_h:
            broken.append(
                f"wants data of the last {needs.freshness_h:g} h, its is {age_h:.1f} h old"
            )
    return broken


def require_promises_kept(
    consumers: Iterable[ConsumerNeeds],
    version: PublishedVersion,
    manifest: Manifest,
    *,
    serves_at: datetime,
) -> None:
    """Raise PublicationRefusedError where the version breaks what a consumer of its frame needs."""
    broken = [
        f"{needs.name} {what}"
        for needs in consumers
        if needs.frame == version.frame
        for what in broken_promises(needs, manifest, serves_at=serves_at)
    ]
    if broken:
        raise PublicationRefusedError(
            f"{version.name} breaks what consumers of frame {version.frame} rely on: "
            f"{'; '.join(broken)}: publish a better one, or agree with them on other needs"
        )


def _is_above_zero(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 < value <= sys.float_info.max  # a whole number may be above that


def _require(key: str, value: object, holds: object, wanted: str) -> None:
    if not holds:
        raise ContractError(f"{key}: want {wanted}, got {value!r}")
