"""Baseline of the last item alone: what followed it how often."""

import numpy as np

from training.evaluation.asked import Sequences
from training.evaluation.ranking import Float32, Score


def markov(learned: Sequences, histories: Sequences) -> Score:
    """Return a score that counts how often a candidate came right after the history's last one.

    Equal counts are ordered by popularity, which is all there is for a history without choices.
    Source: a first-order chain as in Rendle et al., "Factorizing personalized Markov chains",
    WWW 2010, sec. 3, by counting alone.
    """
    from scipy.sparse import coo_matrix

    num_candidates = learned.num_candidates
    is_followed = learned.token_users()[1:] == learned.token_users()[:-1]
    before, after = (
        part[is_followed] for part in (learned.candidate_T[:-1], learned.candidate_T[1:])
    )
    ones = np.ones(len(before), dtype=np.float32)
    followed = coo_matrix((ones, (before, after)), shape=(num_candidates, num_candidates)).tocsr()
    counts = learned.counts()
    ties = (counts / (counts.max(initial=0) + 1)).astype(np.float32)  # below 1, one transition
    has_last = np.diff(histories.offsets) > 0
    last = np.zeros(len(has_last), dtype=np.int64)
    last[has_last] = histories.candidate_T[histories.offsets[1:][has_last] - 1]

    def score(users: slice) -> Float32:
        rows = followed[last[users]].toarray() * has_last[users, None]
        scores: Float32 = rows + ties
        return scores

    return score
