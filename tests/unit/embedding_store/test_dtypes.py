import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from embedding_store.contracts import EmbeddingShard, embedding_table
from embedding_store.dtypes import ENCODINGS, decode, encode
from embedding_store.errors import ContractError

ENCODED = ["float16", "int8"]
HALF_STEP = 2.0**-11
"""Of float16, relative: 11 bits hold a number's digits."""
SMALLEST_STEP = 2.0**-24
"""Of float16, where its exponents end."""


def vectors(bound: float) -> st.SearchStrategy:
    largest = float(np.float32(bound))
    numbers = st.floats(-largest, largest, width=32, allow_subnormal=False)
    return arrays.arrays(
        np.float32, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=numbers
    )


def back(exact: np.ndarray, dtype: str) -> np.ndarray:
    return decode(*encode(exact, dtype))


@given(vectors(65_000))
def test_float16_is_off_by_half_a_step_at_most(exact: np.ndarray) -> None:
    error = np.abs(back(exact, "float16").astype(np.float64) - exact)
    assert (error <= np.maximum(np.abs(exact) * HALF_STEP, SMALLEST_STEP / 2)).all()


@given(vectors(1e30))
def test_int8_is_off_by_half_a_step_of_its_row_at_most(exact: np.ndarray) -> None:
    error = np.abs(back(exact, "int8").astype(np.float64) - exact)
    largest = np.abs(exact).max(axis=1, keepdims=True).astype(np.float64)
    # the scale, the quotient and the product are rounded as well, and a scale below 2^-126 has
    # fewer digits
    assert (error <= largest / 254 * (1 + 1e-4) + 127 * 2.0**-149).all()


@given(vectors(1e30))
def test_a_row_is_encoded_by_itself_and_its_opposite_alike(exact: np.ndarray) -> None:
    for dtype in ENCODINGS:
        bound = exact if dtype != "float16" else exact / np.float32(1e26)
        whole = back(bound, dtype)
        alone = np.concatenate([back(row[None], dtype) for row in bound])
        np.testing.assert_array_equal(whole, alone)
        np.testing.assert_array_equal(back(-bound, dtype), -whole)


@given(vectors(1e4))
def test_encoding_again_changes_nothing_in_float16(exact: np.ndarray) -> None:
    once = back(exact, "float16")
    np.testing.assert_array_equal(back(once, "float16"), once)


def test_rounding_is_to_the_nearest_and_ties_go_to_even() -> None:
    codes, scales = encode(np.array([[127.0, 0.5, 1.5, -2.5, 0.49]], np.float32), "int8")
    assert scales.tolist() == [1.0]
    assert codes.tolist() == [[127, 0, 2, -2, 0]]


def test_float32_is_neither_changed_nor_copied() -> None:
    exact = np.ones((2, 3), np.float32)
    numbers, scales = encode(exact, "float32")
    assert scales is None
    assert decode(numbers, scales) is exact


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(ContractError, match="want one of float32, float16, int8, got 'int4'"):
        encode(np.ones((1, 1), np.float32), "int4")


def shard(*rows: list[float]) -> EmbeddingShard:
    ids = pa.array([f"i{number}" for number in range(len(rows))])
    return EmbeddingShard(embedding_table("item", ids, np.array(rows, np.float32)), "item", 2)


@pytest.mark.parametrize("dtype", ENCODED)
def test_a_row_that_vanishes_is_refused(dtype: str) -> None:
    with pytest.raises(ContractError, match=r"(non-zero|scale): item 'i1'"):
        shard([1, 2], [1e-44, 0]).stored_as(dtype)


def test_a_number_that_float16_cannot_hold_is_refused() -> None:
    with pytest.raises(ContractError, match="finite: item 'i1'"):
        shard([1, 2], [7e4, 1]).stored_as("float16")


@pytest.mark.parametrize("size", [3e38, 1e-40])
def test_int8_holds_rows_of_any_size(size: float) -> None:
    exact = shard([1, 2], [size, -size / 3])
    got = exact.stored_as("int8").vectors[1]
    np.testing.assert_allclose(got, exact.vectors[1], atol=size / 100)


@pytest.mark.parametrize("dtype", ENCODINGS)
def test_what_is_stored_is_read_as_float32(dtype: str) -> None:
    exact = shard([1, 2], [-3, 0.25])
    stored = exact.stored_as(dtype)
    assert stored.dtype == dtype
    assert stored.vectors.dtype == np.float32
    assert not stored.vectors.flags.writeable
    np.testing.assert_array_equal(stored.vectors, back(exact.vectors, dtype))
    assert stored.decoded.schema == exact.table.schema
    assert stored.decoded.equals(embedding_table("item", stored.ids, stored.vectors))


@pytest.mark.parametrize("dtype", ENCODINGS)
def test_some_rows_of_a_shard_are_as_they_were_stored(dtype: str) -> None:
    stored = shard([1, 2], [3, 4], [5, 6]).stored_as(dtype)
    some = stored.take(np.array([0, 2]))
    assert (some.dtype, some.ids.to_pylist()) == (dtype, ["i0", "i2"])
    assert some.table.schema == stored.table.schema
    np.testing.assert_array_equal(some.vectors, stored.vectors[[0, 2]])


def with_scales(scales: pa.Array) -> pa.Table:
    table = shard([1, 2], [3, 4]).stored_as("int8").table
    return table.set_column(2, "scale", scales)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            shard([1, 2]).stored_as("int8").table.drop_columns("scale"),
            "columns: want .*scale.*int8",
        ),
        (shard([1, 2]).table, "columns: want .*scale"),
        (shard([1, 2]).stored_as("float16").table, "columns: want .*scale"),
        (with_scales(pa.array([1.0, 1.0])), "scale: want float, got double"),
        (with_scales(pa.array([1.0, None], pa.float32())), "scale: has nulls"),
        (with_scales(pa.array([1.0, 0.0], pa.float32())), "rule scale: item 'i1'"),
        (with_scales(pa.array([1.0, -1.0], pa.float32())), "rule scale: item 'i1'"),
        (with_scales(pa.array([1.0, np.inf], pa.float32())), "rule scale: item 'i1'"),
        (with_scales(pa.array([1.0, np.nan], pa.float32())), "rule scale: item 'i1'"),
    ],
    ids=["none", "float32", "float16", "double", "null", "zero", "negative", "infinite", "nan"],
)
def test_an_int8_without_good_scales_is_refused(table: pa.Table, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        EmbeddingShard(table, "item", 2, "int8")


@pytest.mark.parametrize(
    ("dtype", "said"),
    [("float32", r"want .* of float32, got"), ("float16", r"want .* of float16, got")],
)
def test_an_int8_is_not_misread(dtype: str, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        EmbeddingShard(shard([1, 2]).stored_as("int8").table, "item", 2, dtype)


def test_a_float16_is_not_misread() -> None:
    with pytest.raises(ContractError, match=r"want fixed_size_list<float>\[2\], got .*halffloat"):
        EmbeddingShard(shard([1, 2]).stored_as("float16").table, "item", 2)
