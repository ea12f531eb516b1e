from datetime import UTC, datetime

import pyarrow as pa

from training.events.point_in_time import newest_rows
from training.events.source import CATALOGUE_SCHEMA


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


CATALOGUE = pa.Table.from_pylist(
    [
        {"item_id": "b", "kind": "movie", "valid_from": day(1), "valid_to": day(5)},
        {"item_id": "a", "kind": "movie", "title": "Old", "valid_from": day(1), "valid_to": day(3)},
        {"item_id": "a", "kind": "movie", "title": "New", "valid_from": day(3)},
        {"item_id": "c", "kind": "movie", "valid_from": day(4)},
    ],
    schema=CATALOGUE_SCHEMA,
)


def items(as_of: datetime) -> list[tuple[str, str | None, datetime | None]]:
    rows = newest_rows(CATALOGUE, as_of=as_of).to_pylist()
    return [(row["item_id"], row["title"], row["valid_to"]) for row in rows]


def test_an_item_has_one_row_the_newest_that_is_known() -> None:
    assert items(day(3)) == [("a", "Old", None), ("b", None, None)]
    assert items(day(4)) == [("a", "New", None), ("b", None, None)]
    assert items(day(9)) == [("a", "New", None), ("b", None, day(5)), ("c", None, None)]


def test_the_layout_stays() -> None:
    assert newest_rows(CATALOGUE, as_of=day(9)).schema.equals(CATALOGUE_SCHEMA)
    assert newest_rows(CATALOGUE, as_of=day(1)).num_rows == 0
