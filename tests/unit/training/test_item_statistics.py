from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.days import end_of
from lake.lake import Written
from training.errors import ContractError, NoDataError
from training.events.source import CATALOGUE_SCHEMA
from training.item_statistics import (
    STATISTICS_FILE,
    read_item_statistics,
    write_item_statistics,
)
from training.tokens.histories import read_histories
from training.vocabulary import VOCABULARY_FILE, Vocabulary


@pytest.fixture
def statistics(small_lake: Any, tmp_path: Path) -> list[Path]:
    folders = []
    for day in small_lake.days:
        parts = [
            small_lake.root / name / str(day)
            for name in ("vocabulary", "catalogue", "interaction_tokens")
        ]
        folders.append(tmp_path / str(day))
        folders[-1].mkdir()
        write_item_statistics(*parts, day, folders[-1])
    return folders


def test_counts_grow_over_the_days_by_vocabulary_row(
    small_lake: Any, statistics: list[Path]
) -> None:
    for number, day in enumerate(small_lake.days):
        through = read_item_statistics(statistics[: number + 1])

        data = small_lake.data(day)
        histories = read_histories(data.token_folders, as_of=end_of(day))
        rows = data.vocabulary().rows(histories.items)[histories.item_code]
        want = np.bincount(rows, weights=histories.num_events, minlength=len(data.vocabulary()))
        assert through.item_ids.to_pylist() == list(data.vocabulary().item_ids)
        assert through.num_events.tolist() == want.tolist()
        assert through.num_events.sum() == histories.num_events.sum() > 0


def _write(folder: Path, tokens: Path, rows: list[dict[str, Any]]) -> Written:
    filled = [{"kind": "film", **row} for row in rows]
    catalogue, vocabulary, out = (folder / name for name in ("catalogue", "vocabulary", "out"))
    for one in (catalogue, vocabulary, out):
        one.mkdir(parents=True)
    pq.write_table(
        pa.Table.from_pylist(filled, schema=CATALOGUE_SCHEMA), catalogue / "catalogue.parquet"
    )
    Vocabulary.empty().grown(["kept", "back", "gone"], date(2026, 1, 1)).write(
        vocabulary / VOCABULARY_FILE
    )
    return write_item_statistics(vocabulary, catalogue, tokens, date(2026, 1, 15), out)


def test_an_item_without_a_valid_description_is_retired_and_keeps_its_row(
    small_lake: Any, tmp_path: Path
) -> None:
    tokens = small_lake.root / "interaction_tokens" / str(small_lake.days[0])
    begin, end, later = end_of("2026-01-01"), end_of("2026-01-15"), end_of("2026-01-20")
    written = _write(
        tmp_path,
        tokens,
        [
            {"item_id": "kept", "valid_from": begin, "valid_to": later},
            {"item_id": "back", "valid_from": begin, "valid_to": end_of("2026-01-03")},
            {"item_id": "back", "valid_from": end_of("2026-01-14"), "valid_to": None},
            {"item_id": "gone", "valid_from": begin, "valid_to": end},
        ],
    )

    read = read_item_statistics([tmp_path / "out"])
    assert dict(zip(read.item_ids.to_pylist(), read.is_retired.tolist(), strict=True)) == {
        "back": False,
        "gone": True,
        "kept": False,
    }
    # none of the day's items is among these three
    assert written.figures["items"] == 3
    assert written.figures["retired_items"] == 1
    assert written.figures["items_with_events"] == 0
    assert written.figures["events_without_row"] > 0


def test_an_item_that_the_catalogue_does_not_hold_is_retired(
    small_lake: Any, tmp_path: Path
) -> None:
    tokens = small_lake.root / "interaction_tokens" / str(small_lake.days[0])
    _write(tmp_path, tokens, [{"item_id": "kept", "valid_from": end_of("2026-01-01")}])

    assert read_item_statistics([tmp_path / "out"]).is_retired.tolist() == [True, True, False]


def test_days_of_another_vocabulary_are_refused(statistics: list[Path]) -> None:
    path = statistics[0] / STATISTICS_FILE
    table = pq.read_table(path)
    pq.write_table(table.take(list(range(table.num_rows))[::-1]), path)

    with pytest.raises(ContractError, match="does not begin with them"):
        read_item_statistics(statistics)


def test_a_file_of_another_format_is_refused(statistics: list[Path]) -> None:
    path = statistics[0] / STATISTICS_FILE
    pq.write_table(pq.read_table(path).replace_schema_metadata({"format_version": "2"}), path)

    with pytest.raises(ContractError, match="read format 1, got 2"):
        read_item_statistics(statistics)


def test_no_day_is_no_data() -> None:
    with pytest.raises(NoDataError, match="at least one day"):
        read_item_statistics([])
