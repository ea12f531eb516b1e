"""Tables of a TOML document, read entry by entry: what is missing or unknown is named."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import Any, Final, TypeVar

from training.errors import ConfigError

DECIDE = "DECIDE"
"""What a draft holds where only a person can decide."""

_REQUIRED: Final = object()

Choice = TypeVar("Choice", bound=StrEnum)


class Table:
    """One table; ``close`` refuses what nobody read."""

    def __init__(self, value: Any, where: str) -> None:
        """Take the table that stands at ``where``; raises ConfigError unless it is one."""
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: want a table, got {value!r}")
        self.where = where
        self._value = value
        self._read: set[str] = set()

    def __contains__(self, key: str) -> bool:
        """Return whether the entry is there."""
        return key in self._value

    def value(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return an entry of any type."""
        self._read.add(key)
        if key in self._value:
            return self._value[key]
        if default is _REQUIRED:
            raise ConfigError(f"{self._name(key)}: want a value, it is missing")
        return default

    def text(self, key: str, default: Any = _REQUIRED) -> str:
        """Return a text that is not empty."""
        value = self.value(key, default)
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{self._name(key)}: want text, got {value!r}")
        return value

    def text_or_none(self, key: str, default: str | None = None) -> str | None:
        """Return a text, which may be empty, or ``default``."""
        value = self.value(key, default)
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{self._name(key)}: want text, got {value!r}")
        return value

    def texts(self, key: str, default: Any = _REQUIRED) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self.value(key, default)
        is_list = isinstance(value, (list, tuple))
        if not is_list or not all(isinstance(one, str) for one in value):
            raise ConfigError(f"{self._name(key)}: want a list of texts, got {value!r}")
        return tuple(value)

    def whole(self, key: str, default: Any = _REQUIRED) -> int:
        """Return a whole number."""
        value = self.value(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ConfigError(f"{self._name(key)}: want a whole number, got {value!r}")
        return value

    def share_or_none(self, key: str) -> float | None:
        """Return a number above 0 and up to 1, or None where it is not there."""
        value = self.value(key, None)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
            raise ConfigError(f"{self._name(key)}: want a number above 0, at most 1, got {value!r}")
        return float(value)

    def truth(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.value(key, default)
        if not isinstance(value, bool):
            raise ConfigError(f"{self._name(key)}: want true or false, got {value!r}")
        return value

    def day_or_none(self, key: str) -> date | None:
        """Return a day, or None."""
        value = self.value(key, None)
        try:
            return None if value is None else date.fromisoformat(value)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{self._name(key)}: want a day as YYYY-MM-DD, got {value!r}"
            ) from error

    def choice(self, key: str, kind: type[Choice]) -> Choice:
        """Return one of a few words."""
        value = self.value(key)
        if value not in [one.value for one in kind]:
            raise ConfigError(f"{self._name(key)}: want one of {', '.join(kind)}, got {value!r}")
        return kind(value)

    def is_table(self, key: str) -> bool:
        """Return whether the entry is a table."""
        return isinstance(self._value.get(key), Mapping)

    def table(self, key: str, default: Any = _REQUIRED) -> "Table":
        """Return a table below this one."""
        return Table(self.value(key, default), self._name(key))

    def tables(self, key: str) -> "list[Table]":
        """Return a list of tables below this one; none where there is no entry."""
        value = self.value(key, ())
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{self._name(key)}: want a list of tables, got {value!r}")
        return [Table(one, f"{self._name(key)}[{n}]") for n, one in enumerate(value)]

    def close(self) -> None:
        """Raise ConfigError when an entry was never read: a slip of the pen changes nothing else.

        Raises:
            ConfigError: an entry is not known.
        """
        unknown = sorted(set(self._value) - self._read)
        if unknown:
            known = ", ".join(sorted(self._read))
            raise ConfigError(
                f"{self._name(unknown[0])}: not known here, or not together with the rest; "
                f"there are: {known}"
            )

    def _name(self, key: str) -> str:
        return key if self.where == "the mapping" else f"{self.where}.{key}"


def open_decisions(value: Any, where: str = "") -> list[str]:
    """Return where a document still says DECIDE."""
    return list(_open(value, where))


def _open(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _open(one, f"{where}.{key}" if where else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for n, one in enumerate(value):
            yield from _open(one, f"{where}[{n}]")
    elif value == DECIDE:
        yield where
