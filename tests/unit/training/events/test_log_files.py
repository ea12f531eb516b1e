from dataclasses import replace
from pathlib import Path

import polars as pl
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
