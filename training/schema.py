"""What a log's events look like: actions with roles, and facets with kinds and phases.

The model, the tokenizer and the rules are built from an ``EventSchema``, so every log trains with
the same code.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import pyarrow as pa

from training.errors import ConfigError

TIMESTAMP = pa.timestamp("us", tz="UTC")


class FacetKind(StrEnum):
    """How a facet's values are read."""

    CATEGORICAL = "categorical"
    """One string."""
    MULTI_CATEGORICAL = "multi_categorical"
    """A set of strings."""
    NUMERIC = "numeric"
    """A number, float64."""
    DURATION = "duration"
    """Milliseconds, int64, never negative; summed when events merge."""
    INSTANT = "instant"
    """A time, µs, UTC."""

    @property
    def arrow_type(self) -> pa.DataType:
        """The column type in every table of events."""
        return _ARROW_TYPES[self]


_ARROW_TYPES: dict[FacetKind, pa.DataType] = {
    FacetKind.CATEGORICAL: pa.string(),
    FacetKind.MULTI_CATEGORICAL: pa.list_(pa.string()),
    FacetKind.NUMERIC: pa.float64(),
    FacetKind.DURATION: pa.int64(),
    FacetKind.INSTANT: TIMESTAMP,
}


class Phase(StrEnum):
    """When a facet is known."""

    REQUEST = "request"
    """Before the user acts: may inform the prediction of this very event."""
    OUTCOME = "outcome"
    """Only after: may inform later predictions."""


class ActionRole(StrEnum):
    """What an action says about taste."""

    TARGET = "target"
    """A positive choice: what the model learns to predict."""
    CONTEXT = "context"
    """Part of the history, never a target."""
    NEGATIVE = "negative"
    """Part of the history; a token that holds one is never a target."""
    IGNORED = "ignored"
    """Kept in the events, no part of tokens (such as impressions)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    """A field of an event beside the fixed ones."""

    name: str
    kind: FacetKind
    phase: Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One kind of event."""

    name: str
    role: ActionRole


# the fixed columns of every event, in this order
EVENT_COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("event_id", pa.string()),
    ("user_id", pa.string()),
    ("item_id", pa.string()),
    ("action", pa.string()),
    ("occurred_at", TIMESTAMP),
    ("received_at", TIMESTAMP),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSchema:
    """Actions and facets of one log."""

    name: str
    actions: tuple[Action, ...]
    facets: tuple[Facet, ...]
    exposure: str | None = None
    """The ignored action that records "was shown", where the log has one: rankers learn from it."""

    def __post_init__(self) -> None:
        """Refuse repeated names, a log without targets, an exposure that tokens would hold."""
        fixed = [name for name, _ in EVENT_COLUMNS]
        for what, names in (
            ("action", [action.name for action in self.actions]),
            ("facet", fixed + [facet.name for facet in self.facets]),
        ):
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise ConfigError(f"event schema {self.name}: {what} {repeated[0]!r} repeats")
        if not self.actions_with(ActionRole.TARGET):
            raise ConfigError(f"event schema {self.name}: no action has the role 'target'")
        if self.exposure and self.exposure not in self.actions_with(ActionRole.IGNORED):
            raise ConfigError(
                f"event schema {self.name}: exposure {self.exposure!r} is no ignored action"
            )

    def actions_with(self, *roles: ActionRole) -> tuple[str, ...]:
        """Return the names of the actions with one of ``roles``, in schema order."""
        return tuple(action.name for action in self.actions if action.role in roles)

    @property
    def token_actions(self) -> tuple[str, ...]:
        """Actions that tokens count: all but the ignored ones."""
        return self.actions_with(ActionRole.TARGET, ActionRole.CONTEXT, ActionRole.NEGATIVE)

    def facets_of(self, phase: Phase, *kinds: FacetKind) -> tuple[Facet, ...]:
        """Return the facets of a phase, of any kind or of ``kinds``, in schema order."""
        return tuple(f for f in self.facets if f.phase is phase and (not kinds or f.kind in kinds))

    @property
    def arrow_schema(self) -> pa.Schema:
        """Columns of a table of events: the fixed ones, then the facets in schema order."""
        fields = [*EVENT_COLUMNS, *((f.name, f.kind.arrow_type) for f in self.facets)]
        return pa.schema(fields)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"format_version": 1, **asdict(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "EventSchema":
        """Read what ``to_json`` returned."""
        if value.get("format_version") != 1:
            raise ConfigError(f"event schema: read format 1, got {value.get('format_version')!r}")
        return cls(
            name=value["name"],
            exposure=value["exposure"],
            actions=tuple(
                Action(name=a["name"], role=ActionRole(a["role"])) for a in value["actions"]
            ),
            facets=tuple(
                Facet(name=f["name"], kind=FacetKind(f["kind"]), phase=Phase(f["phase"]))
                for f in value["facets"]
            ),
        )
