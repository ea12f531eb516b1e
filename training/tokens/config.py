"""What fixes the tokens of a log beside its schema."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from training.errors import ConfigError

FORMAT_VERSION = 1
"""Of ``tokenizer.json`` and of the token files beside it."""

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """How events become tokens, and tokens become files."""

    merge_gap_s: int = 3600
    """Longest time, in seconds, between two neighbouring events of one token."""

    num_buckets: int = 8
    """Files per day, a power of two: users are spread over them by a keyed hash."""

    def __post_init__(self) -> None:
        """Refuse a negative gap and a number of buckets that is no power of two."""
        if self.merge_gap_s < 0:
            raise ConfigError(f"merge_gap_s: want 0 or more seconds, got {self.merge_gap_s}")
        if self.num_buckets < 1 or self.num_buckets & (self.num_buckets - 1):
            raise ConfigError(f"num_buckets: want a power of two, got {self.num_buckets}")

    @property
    def merge_gap_us(self) -> int:
        """The gap in the unit of instants."""
        return self.merge_gap_s * _MICROSECONDS

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "TokenizerConfig":
        """Read what ``to_json`` returned."""
        fields = dict(value)
        version = fields.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise ConfigError(f"tokenizer config: read format {FORMAT_VERSION}, got {version!r}")
        if set(fields) != {"merge_gap_s", "num_buckets"}:
            raise ConfigError(
                f"tokenizer config: want merge_gap_s, num_buckets, got {sorted(fields)}"
            )
        return cls(**fields)


def json_bytes(value: dict[str, Any]) -> bytes:
    """Return readable JSON that is equal for equal values."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
