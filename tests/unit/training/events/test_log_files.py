from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.errors import SourceError
from training.events.log_files import log_files
from training.events.mapping import FileFormat, FileSet

CSV = FileSet(
    paths=(), format=FileFormat.CSV, delimiter=",", quote='"', encoding="utf8", nulls=("", "NA"),
    columns=(),
)  # fmt: skip


def read(path: Path, layout: FileSet, *columns: str) -> pl.DataFrame:
    (file,) = log_files(replace(layout, paths=(path,)))
    return pl.concat(file.frames(columns))


def test_csv_is_text_with_quotes_and_nulls(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('id,name\n007,"a, ""b"""\n"",NA\n8,"NA"\n"9\n1",\n')

    assert read(path, CSV, "name", "id").rows() == [
        ('a, "b"', "007"),
        (None, ""),  # quoted, so an empty text and not a missing one
        ("NA", "8"),
        (None, "9\n1"),
    ]


def test_columns_that_nobody_asked_for_are_not_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "1,2\n" * 100_000 + "3,words\n")

    assert read(path, CSV, "a")["a"].tail(2).to_list() == ["1", "3"]


def test_a_file_without_a_header_and_another_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("1\tx\n2\t'\n")
    layout = replace(CSV, delimiter="\t", quote=None, columns=("n", "t"))

    assert read(path, layout, "n", "t").rows() == [("1", "x"), ("2", "'")]


def test_a_folder_means_the_files_of_its_format_below_it(tmp_path: Path) -> None:
    (tmp_path / "day=1").mkdir()
    (tmp_path / "_tmp").mkdir()
    for name in ("day=1/a.parquet", "b.snappy.parquet", "_tmp/c.parquet", ".d.parquet"):
        pl.DataFrame({"n": [1]}).write_parquet(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    layout = replace(CSV, format=FileFormat.PARQUET, paths=(tmp_path, tmp_path / "day=1"))

    assert [file.path.name for file in log_files(layout)] == ["b.snappy.parquet", "a.parquet"]
    with pytest.raises(SourceError, match=r"no \.csv file in the folder"):
        log_files(replace(CSV, paths=(tmp_path,)))
    with pytest.raises(SourceError, match=r"no file or folder .*gone"):
        log_files(replace(CSV, paths=(tmp_path / "gone",)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "want a csv file"),
        (b"a,a\n1,2\n", "multiple columns named a"),
        (b"a,b\n1,2\nalice,3,4\n", "Expected 2 columns, got 3$"),
        (b"a,b\n1,\xff\n", "invalid UTF8"),
        (b"\x1f\x8b\x08,b\n1,2\n", "want a csv file"),  # packed, and not called so
    ],
)
def test_a_csv_file_that_cannot_be_read_is_named_without_its_rows(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)

    with pytest.raises(SourceError, match=rf"x\.csv: .*{message}") as caught:
        read(path, CSV, "a", "b")
    assert "alice" not in str(caught.value)


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_text("a,b\n")

    with pytest.raises(SourceError, match=r"x\.parquet: want a parquet file"):
        read(path, replace(CSV, format=FileFormat.PARQUET), "a")


PARQUET = replace(CSV, format=FileFormat.PARQUET)
SURROGATE = pa.Array.from_buffers(
    pa.string(), 2, [None, pa.py_buffer(pa.array([0, 3, 4], pa.int32()).buffers()[1]),
    pa.py_buffer(b"\xed\xa0\x80a")]
)  # fmt: skip


def test_text_that_is_no_utf8_is_refused_with_its_column(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": ["1", "2"], "b": SURROGATE}), path)

    assert read(path, PARQUET, "a").height == 2
    with pytest.raises(SourceError, match=r"x\.parquet: column 'b': Invalid UTF8 .* in UTF-8$"):
        read(path, PARQUET, "a", "b")


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["a", None], pa.large_string()),
        pa.array(["a", None], pa.string_view()),
        pa.array(["a", None]).dictionary_encode(),
        pa.array([b"a", None], pa.binary()),
        pa.array([b"a", None], pa.binary(1)),
    ],
)
def test_text_is_text_however_a_file_keeps_it(tmp_path: Path, values: "pa.Array[Any]") -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": values}), path)

    assert read(path, PARQUET, "a")["a"].to_list() == ["a", None]


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [b"\xff"]}), path)

    with pytest.raises(SourceError, match=r"x\.parquet: Invalid UTF8"):
        read(path, PARQUET, "a")


def test_a_zone_that_is_an_offset_is_read_as_the_instant_that_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": pa.array([5], pa.timestamp("us", "+05:30"))}), path)

    assert read(path, PARQUET, "a")["a"].dt.timestamp("us").to_list() == [5]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([Decimal("1.5")], pa.decimal256(50, 2)),
        pa.array([[Decimal("1.5")]], pa.list_(pa.decimal256(50, 2))),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"\xff" * 16], pa.binary(16))),
    ],
)
def test_a_type_that_nothing_is_made_of_is_refused_where_it_is_read(
    tmp_path: Path, values: "pa.Array[Any]"
) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": ["1"], "b": values}), path)

    assert read(path, PARQUET, "a").height == 1
    with pytest.raises(SourceError, match=r"x\.parquet: column 'b' is .*: want text, numbers"):
        read(path, PARQUET, "b")


def test_a_footer_of_other_data_is_refused_with_the_file(tmp_path: Path) -> None:
    def written(num_rows: int) -> tuple[bytes, bytes]:
        path = tmp_path / "x.parquet"
        pq.write_table(pa.table({"a": list(map(str, range(num_rows)))}), path, compression="none")
        content = path.read_bytes()
        begin = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        return content[:begin], content[begin:]

    (_, footer), (data, _) = written(2000), written(1000)
    (tmp_path / "x.parquet").write_bytes(data + footer)

    with pytest.raises(SourceError, match=r"x\.parquet: "):
        read(tmp_path / "x.parquet", PARQUET, "a")
