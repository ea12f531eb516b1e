from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.errors import ContractError
from training.events.source import CATALOGUE_SCHEMA
from training.vocabulary import Vocabulary, write_vocabulary

MONDAY, TUESDAY = date(2026, 2, 2), date(2026, 2, 3)


def catalogue(folder: Path, *ids: str) -> Path:
    folder.mkdir()
    rows = [
        {"item_id": i, "kind": "movie", "valid_from": datetime(2026, 1, 1, tzinfo=UTC)} for i in ids
    ]
    table = pa.Table.from_pylist(rows, schema=CATALOGUE_SCHEMA)
    pq.write_table(table, folder / "catalogue.parquet")
    return folder


def test_unseen_ids_are_appended_sorted_with_their_day() -> None:
    monday = Vocabulary.empty().grown(["m", "b"], MONDAY)

    tuesday = monday.grown(["z", "a", "b"], TUESDAY)

    assert tuesday.table.to_pylist() == [
        {"item_id": "b", "first_seen": MONDAY},
        {"item_id": "m", "first_seen": MONDAY},
        {"item_id": "a", "first_seen": TUESDAY},
        {"item_id": "z", "first_seen": TUESDAY},
    ]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(batches=st.lists(st.lists(st.text(max_size=2), max_size=6), max_size=5))
def test_a_row_once_given_stays(batches: list[list[str]]) -> None:
    vocabulary = Vocabulary.empty()
    for ids in batches:
        bigger = vocabulary.grown(ids, MONDAY)

        assert bigger.table.slice(0, len(vocabulary)) == vocabulary.table
        assert set(bigger.item_ids) == set(vocabulary.item_ids) | set(ids)
        assert bigger.rows(bigger.item_ids).tolist() == list(range(len(bigger)))
        vocabulary = bigger


def test_rows_come_in_the_order_of_the_ids_and_may_repeat() -> None:
    vocabulary = Vocabulary.empty().grown(["a", "b", "c"], MONDAY)

    rows = vocabulary.rows(["c", "a", "c"])

    assert rows.tolist() == [2, 0, 2]
    assert rows.dtype == "int32"
    assert vocabulary.rows([]).tolist() == []


def test_an_unknown_id_is_named() -> None:
    vocabulary = Vocabulary.empty().grown(["a"], MONDAY)

    with pytest.raises(ContractError, match=r"2 of 3 ids are unknown, the first is 'x'"):
        vocabulary.rows(["a", "x", "y"])


def test_a_vocabulary_survives_its_file(tmp_path: Path) -> None:
    vocabulary = Vocabulary.empty().grown(["a", "é"], MONDAY)
    vocabulary.write(tmp_path / "one.parquet")
    Vocabulary.from_parquet(tmp_path / "one.parquet").write(tmp_path / "two.parquet")

    assert Vocabulary.from_parquet(tmp_path / "one.parquet").table == vocabulary.table
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_a_repeated_id_is_refused() -> None:
    table = Vocabulary.empty().grown(["a"], MONDAY).table

    with pytest.raises(ContractError, match="item_id repeats: 'a'"):
        Vocabulary(pa.concat_tables([table, table]))


def test_other_columns_are_refused() -> None:
    with pytest.raises(ContractError, match="vocabulary schema"):
        Vocabulary(pa.table({"item_id": ["a"]}))


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    table = Vocabulary.empty().table.replace_schema_metadata({"format_version": "2"})
    pq.write_table(table, tmp_path / "v.parquet")

    with pytest.raises(ContractError, match="read format 1, got 2"):
        Vocabulary.from_parquet(tmp_path / "v.parquet")


def test_a_day_grows_the_vocabulary_of_the_day_before(tmp_path: Path) -> None:
    monday, tuesday = tmp_path / "monday", tmp_path / "tuesday"
    monday.mkdir()
    tuesday.mkdir()
    write_vocabulary(catalogue(tmp_path / "c1", "m", "b", "m"), None, MONDAY, monday)

    written = write_vocabulary(catalogue(tmp_path / "c2", "a", "b"), monday, TUESDAY, tuesday)

    assert Vocabulary.from_parquet(tuesday / "vocabulary.parquet").item_ids == ("b", "m", "a")
    assert (written.rows, written.figures) == (3, {"items": 3, "new_items": 1})


@pytest.mark.parametrize("kept", [0, 3, 100, -20])
def test_a_damaged_file_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "v.parquet"
    Vocabulary.empty().grown(["m", "b"], MONDAY).write(path)
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(ContractError, match=r"v\.parquet: missing or damaged .*restore it"):
        Vocabulary.from_parquet(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"v\.parquet: missing or damaged"):
        Vocabulary.from_parquet(tmp_path / "v.parquet")
