"""Exact search: the best columns of every row of scores."""

import numpy as np
import numpy.typing as npt

from embedding_store.contracts import Float32
from embedding_store.errors import ContractError


def best_columns(scores: Float32, k: int) -> npt.NDArray[np.int64]:
    """Return int64[N, min(k, M)]: the columns of the highest of float32[N, M], best first.

    Ties go to the smaller column, also where they stand at the end of what is returned.
    """
    if k < 1:
        raise ContractError(f"k: want at least 1, got {k}")
    rows, num_columns = scores.shape
    if k >= num_columns:
        return np.argsort(-scores, axis=1, kind="stable")
    last = np.partition(scores, num_columns - k, axis=1)[:, num_columns - k, None]
    is_above, is_last = scores > last, scores == last
    room = k - is_above.sum(axis=1, keepdims=True)
    is_taken = is_above | (is_last & (np.cumsum(is_last, axis=1) <= room))
    columns = np.nonzero(is_taken)[1].reshape(rows, k)
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)
