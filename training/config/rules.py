"""Rules that the values of a config keep."""

import math
from dataclasses import is_dataclass
from typing import Any, get_origin, get_type_hints

from training.errors import ConfigError

_KINDS: dict[Any, tuple[type, ...]] = {
    bool: (bool,),
    int: (int,),
    float: (float, int),
    tuple: (tuple, list),
}


def require(*, holds: bool, rule: str) -> None:
    """Raise ConfigError, saying the rule, unless it holds."""
    if not holds:
        raise ConfigError(rule)


def require_share(name: str, value: float) -> None:
    """Raise ConfigError unless the value is in [0, 1)."""
    require(holds=0.0 <= value < 1.0, rule=f"{name}: want a share in [0, 1), got {value}")


def require_kinds(config: Any) -> None:
    """Raise ConfigError where a value is not of the kind that its field declares.

    A whole number serves as a float, which is finite; a list, as JSON has it, as a tuple. Choices
    of text have rules of their own.
    """
    for name, hint in get_type_hints(type(config)).items():
        value, kind = getattr(config, name), get_origin(hint) or hint
        is_part = isinstance(kind, type) and is_dataclass(kind)
        allowed = (kind,) if is_part else _KINDS.get(kind)
        if allowed is None:
            continue
        # a truth value is an int to Python
        holds = isinstance(value, allowed) and isinstance(value, bool) == (kind is bool)
        if holds and kind is float:
            holds = math.isfinite(value)
        require(holds=holds, rule=f"{name}: want {kind.__name__}, got {value!r}")
