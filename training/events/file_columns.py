"""What columns the files of a log have, and what became of them from one day to the next.

A mapping names the columns that are read. What else a file has, and the types that it has them in,
may change: what still means the same is read all the same, and said; what does not is refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from training.errors import SourceError


@dataclass(frozen=True, slots=True)
class FileColumns:
    """Files that have the same columns."""

    file: str
    """Name of the first of them."""
    num_files: int
    columns: Mapping[str, str]
    """Types by name, as Arrow calls them."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


@runtime_checkable
class HasFiles(Protocol):
    """A source that reads somebody's own files."""

    def columns_on(self, day: date) -> Sequence[FileColumns]:
        """Return the columns of the files that have rows of a day."""
        ...

    @property
    def columns_read(self) -> Sequence[str]:
        """The columns that events are made of."""
        ...


def kinds(schema: pa.Schema) -> dict[str, str]:
    """Return the types of columns by name.

    How a writer calls the members of lists, and lays out text, makes no other type.
    """
    return {field.name: _kind(field.type) for field in schema}


def grouped(files: Iterable[tuple[str, Mapping[str, str]]]) -> list[FileColumns]:
    """Return files of equal columns together, in the order of the first ones."""
    found: list[FileColumns] = []
    for name, columns in files:
        for index, one in enumerate(found):
            if one.columns == columns:
                found[index] = FileColumns(one.file, one.num_files + 1, columns)
                break
        else:
            found.append(FileColumns(name, 1, columns))
    return found


def changes(
    before: Sequence[FileColumns], now: Sequence[FileColumns], *, read: Sequence[str] = ()
) -> list[str]:
    """Return how files differ from those before, in words; from one another where there are none.

    Each kind of files is compared with the one before that it differs from least, so a log that
    always has two kinds of files has not changed.

    Args:
        before: files of an earlier day.
        now: files of the day.
        read: columns that the mapping reads.
    """
    known, told = list(before or now[:1]), []
    for one in now:
        differences = [_differences(then.columns, one.columns, read) for then in known]
        told += [f"{one.file}: {what}" for what in min(differences, key=len)]
    return told


def refused(path: str, fault: str, *, expected: str, found: Mapping[str, str]) -> SourceError:
    """Return the refusal of a file, with what was expected and what was found."""
    shown = ", ".join(f"{name} {kind}" for name, kind in found.items())
    return SourceError(
        f"{path}: {fault}\n  expected: {expected}\n  found:    {shown}\n"
        "  Write the file again with the columns that were expected, or take it away: until then "
        "no day is made anew, and what is published stays. A log that has changed for good gets a "
        "mapping of its own, in another --workspace"
    )


def _differences(then: Mapping[str, str], now: Mapping[str, str], read: Sequence[str]) -> list[str]:
    aside = {name: "" if name in read else ", which is not read" for name in {**then, **now}}
    return [
        *(f"new column {name!r} ({now[name]}){aside[name]}" for name in now if name not in then),
        *(f"column {name!r} ({then[name]}) is gone" for name in then if name not in now),
        *(
            f"column {name!r} is {now[name]}, was {then[name]}{aside[name]}"
            for name in now
            if name in then and then[name] != now[name]
        ),
    ]


def _kind(kind: pa.DataType) -> str:
    if isinstance(kind, (pa.ListType, pa.LargeListType)):
        return f"list<{_kind(kind.value_type)}>"
    if isinstance(kind, pa.DictionaryType):
        return f"dictionary<{_kind(kind.value_type)}>"
    return (
        "string" if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else str(kind)
    )
