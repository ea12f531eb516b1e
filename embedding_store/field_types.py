"""Whether what was read from JSON is of the types that a dataclass declares."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import UnionType
from typing import Any, Literal, get_args, get_origin


def odd_field(kind: type[Any], values: Mapping[str, Any]) -> str | None:
    """Return which given field of a dataclass is not of its type, as a sentence, or None."""
    for one in fields(kind):
        if one.name in values and not is_of(values[one.name], one.type):
            return f"{one.name} is not of the type {one.type}"
    return None


def require_types(kind: type[Any], values: Mapping[str, Any]) -> None:
    """Raise ValueError where a given field is not of its type."""
    if odd := odd_field(kind, values):
        raise ValueError(odd)


def is_of(value: object, kind: Any) -> bool:
    """Return whether a value is of a type, in the forms that JSON has: a tuple is a list there."""
    origin, options = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in options
    if origin is UnionType:
        return any(is_of(value, option) for option in options)
    if origin in {Sequence, tuple}:
        return isinstance(value, list | tuple) and all(is_of(one, options[0]) for one in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(is_of(one, options[1]) for one in value.values())
    if isinstance(value, bool):
        return kind in {bool, Any}
    return kind is Any or isinstance(value, int | float if kind is float else kind)
