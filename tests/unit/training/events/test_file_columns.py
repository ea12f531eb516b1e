import pyarrow as pa
import pytest

from training.events.file_columns import FileColumns, changes, grouped, kinds

PLAIN = {"user": "int64", "ms": "int32"}
WIDE = {"user": "int64", "ms": "int64", "mood": "string"}


def files(name: str, columns: dict[str, str]) -> FileColumns:
    return FileColumns(name, 1, columns)


def test_files_of_equal_columns_are_told_once() -> None:
    found = grouped([("a", PLAIN), ("b", WIDE), ("c", PLAIN)])

    assert [(one.file, one.num_files) for one in found] == [("a", 2), ("b", 1)]


def test_each_change_is_said_with_both_types() -> None:
    before, now = [files("a", PLAIN)], [files("b", WIDE)]

    assert changes(before, now, read=["user", "ms"]) == [
        "b: new column 'mood' (string), which is not read",
        "b: column 'ms' is int64, was int32",
    ]
    assert changes(now, before, read=["user", "ms"])[0] == "a: column 'mood' (string) is gone"


def test_a_log_of_two_kinds_of_files_has_not_changed_with_the_second() -> None:
    both = [files("a", PLAIN), files("b", WIDE)]

    assert changes(both, both) == []
    assert changes(both, [files("c", WIDE)]) == []


def test_files_of_a_first_day_are_compared_with_one_another() -> None:
    assert changes([], [files("a", PLAIN)]) == []
    assert len(changes([], [files("a", PLAIN), files("b", WIDE)])) == 2


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (pa.large_string(), "string"),
        (pa.list_(pa.field("member", pa.large_string())), "list<string>"),
        (pa.dictionary(pa.int8(), pa.string()), "dictionary<string>"),
        (pa.timestamp("us", "UTC"), "timestamp[us, tz=UTC]"),
    ],
)
def test_a_writers_ways_are_no_types(kind: pa.DataType, name: str) -> None:
    assert kinds(pa.schema([("x", kind)])) == {"x": name}
