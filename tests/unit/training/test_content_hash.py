from datetime import UTC, datetime
from typing import Any

import numpy.typing as npt
import pyarrow as pa
import pytest

from training.content_hash import content_ids
from training.schema import TIMESTAMP

COLUMNS = {
    "text": (pa.string(), ["a", "b", None]),
    "number": (pa.float64(), [1.0, -2.5, None]),
    "whole": (pa.int64(), [1, -1, None]),
    "instant": (
        TIMESTAMP,
        [datetime(2026, 1, 1, tzinfo=UTC), None, datetime(2026, 1, 2, tzinfo=UTC)],
    ),
    "set": (pa.list_(pa.string()), [["x", "y"], [], None]),
}


def ids_of(rows: pa.Table) -> npt.NDArray[Any]:
    return content_ids(rows).to_numpy(zero_copy_only=False)


def table(**changed: list[object]) -> pa.Table:
    return pa.table(
        {
            name: pa.array(changed.get(name, values), kind)
            for name, (kind, values) in COLUMNS.items()
        }
    )


def test_stored_ids_never_change() -> None:
    assert ids_of(table()).tolist() == [
        "3c0416ceac7ee6c4ad595e6074555df4",
        "707893fd66eb2d28506ab4a4caff89ee",
        "86c8d029c0e475b65a80b5df7b18283b",
    ]


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_counts(column: str) -> None:
    values = COLUMNS[column][1]
    rotated = [*values[1:], values[0]]

    before, after = ids_of(table()), ids_of(table(**{column: rotated}))

    assert (before != after).all()


def test_equal_values_under_other_names_differ() -> None:
    one = pa.table({"a": ["x"], "b": ["y"]})

    assert ids_of(one)[0] != ids_of(one.rename_columns(["b", "a"]))[0]
    assert ids_of(pa.table({"a": ["b"]}))[0] != ids_of(pa.table({"b": ["a"]}))[0]


def test_the_order_of_rows_and_columns_does_not_matter() -> None:
    turned = table().take([2, 0, 1]).select(list(reversed(COLUMNS)))

    assert ids_of(turned).tolist() == ids_of(table()).take([2, 0, 1]).tolist()


def test_a_list_is_read_as_a_set() -> None:
    assert ids_of(table(set=[["y", "x", "y"], [], None])).tolist() == (ids_of(table()).tolist())


def test_minus_zero_is_zero_and_every_nan_is_alike() -> None:
    ids = ids_of(pa.table({"n": [0.0, -0.0, float("nan"), -float("nan")]}))

    assert ids[0] == ids[1]
    assert ids[2] == ids[3]
    assert ids[0] != ids[2]


def test_a_column_of_nulls_counts_as_absent() -> None:
    wider = table().append_column("later", pa.nulls(3, pa.string()))

    assert ids_of(wider).tolist() == ids_of(table()).tolist()


def test_no_rows_have_no_ids() -> None:
    assert ids_of(table().slice(0, 0)).tolist() == []


def test_a_million_near_neighbours_do_not_collide() -> None:
    numbers = pa.table({"a": pa.array(range(1_000_000)), "b": pa.array([7] * 1_000_000)})

    assert len(set(ids_of(numbers).tolist())) == 1_000_000
