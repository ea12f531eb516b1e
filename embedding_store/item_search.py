"""The best items of one query: over all of them, or over what an index names.

Both order by score, computed in float32 from the version's vectors, and ties by id.
"""

from dataclasses import dataclass

import numpy as np

from embedding_store.contracts import Float32
from embedding_store.exact_search import best_columns
from embedding_store.item_index import ItemIndex, Rows

_BLOCK_SCORES = 1 << 22
"""Scores that a search of many queries holds at a time, 16 MB."""

_SPARE = 20
"""Candidates beyond those asked for: the graph's vectors are rounded, scores are not."""

_NO_ROWS: Rows = np.zeros(0, dtype=np.int64)

_WIDEST = 8
"""An index is asked for at most one item of so many: more costs as much as looking at all."""


@dataclass(frozen=True, slots=True)
class Best:
    """Rows of items and their scores, best first."""

    rows: Rows
    scores: Float32


def best_of(scores: Float32, k: int, excluded: Rows) -> Best:
    """Return the ``k`` best of float32[items] but for the excluded rows."""
    order = best_columns(scores[None], k + len(excluded))[0]
    order = order[~np.isin(order, excluded)][:k]
    return Best(order, scores[order])


def best_of_all(vectors: Float32, query: Float32, k: int, excluded: Rows) -> Best:
    """Return the ``k`` best of float32[items, dim] but for the excluded rows."""
    return best_of(vectors @ query, k, excluded)


def best_of_blocks(vectors: Float32, queries: Float32, k: int) -> tuple[Rows, Float32]:
    """Return (rows, scores) of the ``k`` best for each of float32[N, dim], many at a time."""
    step = max(1, _BLOCK_SCORES // len(vectors))
    rows = np.zeros((len(queries), min(k, len(vectors))), dtype=np.int64)
    scores = np.zeros(rows.shape, dtype=np.float32)
    for start in range(0, len(queries), step):
        block = slice(start, start + step)
        products = queries[block] @ vectors.T
        rows[block] = best_columns(products, k)
        scores[block] = np.take_along_axis(products, rows[block], axis=1)
    return rows, scores


def best_by_index(
    index: ItemIndex, vectors: Float32, query: Float32, k: int, excluded: Rows
) -> Best | None:
    """Return about the same from what the index names; None where it would have to name too many.

    More is asked for until ``k`` remain besides the excluded.
    """
    count = k + _SPARE
    while count <= len(vectors) // _WIDEST:
        rows = index.candidates(query, count)
        best = best_of(vectors[rows] @ query, count, _NO_ROWS)  # worse ones may have better unseen
        is_left = ~np.isin(rows[best.rows], excluded)
        if is_left.sum() >= k:
            return Best(rows[best.rows][is_left][:k], best.scores[is_left][:k])
        count *= 2
    return None
