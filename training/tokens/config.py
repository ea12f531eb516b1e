"""What fixes the tokens of a log beside its schema."""

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from training.errors import ConfigError
from training.schema import ActionRole, EventSchema

FORMAT_VERSION = 1
"""Of the token files."""

CONFIG_FORMAT = 2
"""Of ``tokenizer.json``. Format 1 had the gap and the buckets: all actions but the ignored ones."""

_FIELDS_OF_1 = {"merge_gap_s", "num_buckets"}
_MEANINGFUL = (ActionRole.TARGET, ActionRole.CONTEXT, ActionRole.NEGATIVE)
_STRONGEST_FIRST = (ActionRole.NEGATIVE, ActionRole.TARGET, ActionRole.CONTEXT)
"""A dislike outweighs the play it follows: a token that holds one is never a target."""

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """How events become tokens, and tokens become files."""

    merge_gap_s: int = 3600
    """Longest time, in seconds, between two neighbouring events of one token."""

    num_buckets: int = 8
    """Files per day, a power of two: users are spread over them by a keyed hash."""

    roles: tuple[ActionRole, ...] = _MEANINGFUL
    """Roles whose actions become tokens; the ignored ones never do."""

    dropped_actions: tuple[str, ...] = ()
    """Actions of these roles that become no tokens all the same."""

    strength: tuple[str, ...] = ()
    """The actions of tokens, the strongest first. Empty: negative ones, then targets, then context;
    of one role, what the schema names later: schemas go from cheap actions to costly ones."""

    def __post_init__(self) -> None:
        """Refuse a negative gap, buckets that are no power of two, and roles without targets."""
        for name in ("merge_gap_s", "num_buckets"):
            if type(value := getattr(self, name)) is not int:
                raise ConfigError(f"{name}: want a whole number, got {value!r}")
        if self.merge_gap_s < 0:
            raise ConfigError(f"merge_gap_s: want 0 or more seconds, got {self.merge_gap_s}")
        if self.num_buckets < 1 or self.num_buckets & (self.num_buckets - 1):
            raise ConfigError(f"num_buckets: want a power of two, got {self.num_buckets}")
        if ActionRole.TARGET not in self.roles or ActionRole.IGNORED in self.roles:
            raise ConfigError(
                f"roles: want targets and nothing ignored, got {', '.join(self.roles)}"
            )

    @property
    def merge_gap_us(self) -> int:
        """The gap in the unit of instants."""
        return self.merge_gap_s * _MICROSECONDS

    def schema_of_tokens(self, schema: EventSchema) -> EventSchema:
        """Return the schema as tokens see it: what is dropped has the role "ignored".

        That of what it returned is the same.
        Raises ConfigError where the schema has no such action, or no target is left.
        """
        known = [action.name for action in schema.actions]
        unknown = [name for name in self.dropped_actions if name not in known]
        if unknown:
            raise ConfigError(f"dropped_actions: {unknown[0]!r} is none of {', '.join(known)}")
        kept = replace(
            schema,
            actions=tuple(
                action
                if action.role in self.roles and action.name not in self.dropped_actions
                else replace(action, role=ActionRole.IGNORED)
                for action in schema.actions
            ),
        )
        if self.strength and sorted(self.strength) != sorted(kept.token_actions):
            raise ConfigError(
                f"strength: want {', '.join(kept.token_actions)} in some order, "
                f"got {', '.join(self.strength)}"
            )
        return kept

    def strongest_first(self, schema: EventSchema) -> tuple[str, ...]:
        """Return the actions of tokens by strength, of a schema as tokens see it."""
        by_role = [schema.actions_with(role)[::-1] for role in _STRONGEST_FIRST]
        return self.strength or tuple(name for names in by_role for name in names)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"format_version": CONFIG_FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "TokenizerConfig":
        """Read what ``to_json`` returned, or what format 1 held."""
        given = dict(value)
        version = given.pop("format_version", None)
        if version not in (1, CONFIG_FORMAT):
            raise ConfigError(
                f"tokenizer config: read format 1 and {CONFIG_FORMAT}, got {version!r}"
            )
        want = _FIELDS_OF_1 if version == 1 else {one.name for one in fields(cls)}
        if set(given) != want:
            raise ConfigError(f"tokenizer config: want {sorted(want)}, got {sorted(given)}")
        if version != 1:
            given["roles"] = tuple(map(ActionRole, given["roles"]))
            for name in ("dropped_actions", "strength"):
                given[name] = tuple(given[name])
        return cls(**given)


def json_bytes(value: dict[str, Any]) -> bytes:
    """Return readable JSON that is equal for equal values."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
