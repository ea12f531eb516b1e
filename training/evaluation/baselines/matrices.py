"""Choices as sparse matrices. scipy comes with the extra ``peers``, so it is loaded in calls."""

from typing import Any

import numpy as np

from training.evaluation.asked import Sequences
from training.evaluation.ranking import Float32, Score


def chosen_matrix(sequences: Sequences) -> Any:
    """Return a CSR float32[sequences, M]: 1 where the candidate was chosen, however often."""
    from scipy.sparse import csr_matrix

    num_rows = len(sequences.offsets) - 1
    pairs = np.unique(sequences.token_users() * sequences.num_candidates + sequences.candidate_T)
    rows, columns = np.divmod(pairs, sequences.num_candidates)
    shape = (num_rows, sequences.num_candidates)
    return csr_matrix((np.ones(len(pairs), dtype=np.float32), (rows, columns)), shape=shape)


def product(left: Any, right: Any) -> Score:
    """Return the rows of a product of two sparse matrices as a score."""

    def score(users: slice) -> Float32:
        scores: Float32 = (left[users] @ right).toarray()
        return scores

    return score
