import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embedding_store.errors import ContractError
from embedding_store.exact_search import best_columns


@given(
    arrays(np.float32, st.tuples(st.integers(0, 4), st.integers(1, 9)), elements=st.integers(0, 3)),
    st.integers(1, 12),
)
def test_the_best_are_those_of_a_full_sort_ties_by_column(scores: np.ndarray, k: int) -> None:
    want = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(best_columns(scores, k), want)


def test_nothing_cannot_be_asked_for() -> None:
    with pytest.raises(ContractError, match="k: want at least 1, got 0"):
        best_columns(np.ones((1, 3), dtype=np.float32), 0)
