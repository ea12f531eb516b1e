"""Baseline of item neighbours: candidates that the same people chose."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluation.asked import Sequences
from training.evaluation.baselines.matrices import chosen_matrix, product
from training.evaluation.ranking import Score

_ROWS_PER_CHUNK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemKnnConfig:
    """How neighbours are chosen."""

    num_neighbours: int = 100
    """Of each item, the most similar ones."""

    shrinkage: float = 20.0
    """Added to the denominator of the cosine: few common users say little."""


def item_knn(learned: Sequences, config: ItemKnnConfig) -> Callable[[Sequences], Score]:
    """Return, of histories, a score that sums the similarities to everything in each.

    Cosine with shrinkage over sets of users. Source: Ferrari Dacrema, Cremonesi and Jannach,
    RecSys 2019, arXiv:1907.06902, sec. 3.2; ``implicit`` has the cosine without shrinkage.
    """
    similar = neighbours(chosen_matrix(learned), config)
    return lambda histories: product(chosen_matrix(histories), similar)


def neighbours(chosen: Any, config: ItemKnnConfig) -> Any:
    """Return a CSR float32[M, M]: row i, column j: the similarity of j, a neighbour of i, to i."""
    from scipy.sparse import csr_matrix, vstack

    common = (chosen.T @ chosen).tocsr()
    norm = np.sqrt(common.diagonal())
    num_items = common.shape[0]
    kept = min(config.num_neighbours, num_items - 1)
    parts = []
    for start in range(0, num_items, _ROWS_PER_CHUNK):
        rows = common[start : start + _ROWS_PER_CHUNK].toarray()
        own = np.arange(len(rows))
        rows[own, start + own] = 0.0
        rows /= norm[start : start + len(rows), None] * norm + config.shrinkage + 1e-9
        nearest = np.argpartition(rows, num_items - kept, axis=1)[:, num_items - kept :]
        left = np.zeros_like(rows)
        np.put_along_axis(left, nearest, np.take_along_axis(rows, nearest, axis=1), axis=1)
        parts.append(csr_matrix(left))
    return vstack(parts, format="csr")
