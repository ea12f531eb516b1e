"""What the lists of a system are like, whether or not they hold the target.

Legend: U lists of C candidates each, M candidates, G genres, D dimensions. Coverage of the
catalogue is ``ranking.coverage``.
"""

import numpy as np
import numpy.typing as npt

from training.contracts import Float64, Int64
from training.evaluation.asked import Sequences
from training.features.catalogue import Catalogue

_CALIBRATION_SMOOTHING = 0.01
"""Share of the history's genres mixed into the list's: the value of the source."""


def novelty(shown_UC: Int64, counts_M: Int64) -> Float64:
    """Return each list's mean self-information in bits, float64[U].

    ``-log2 p``, where ``p`` is the candidate's share of all choices in training, each counted once
    more than it was made, so that what was never chosen is finite. Source: Vargas and Castells,
    RecSys 2011, sec. 3 (free discovery).
    """
    shares_M = (counts_M + 1) / (counts_M.sum() + len(counts_M))
    mean_U: Float64 = -np.log2(shares_M)[shown_UC].mean(axis=1)
    return mean_U


def diversity(shown_UC: Int64, vectors_MD: npt.NDArray[np.floating]) -> Float64:
    """Return each list's mean distance of two candidates, one minus their cosine, float64[U].

    A zero vector resembles nothing. Source: intra-list diversity, Vargas and Castells, RecSys 2011,
    sec. 5; after Ziegler et al., WWW 2005, sec. 3.
    """
    norms = np.linalg.norm(vectors_MD, axis=1, keepdims=True)
    unit_MD = vectors_MD.astype(np.float64) / np.where(norms > 0, norms, 1.0)
    # the squared length of a sum is the sum of all pairs' products, those with themselves too
    length_U = np.square(unit_MD[shown_UC].sum(axis=1)).sum(axis=1)
    own_U = (norms[:, 0] > 0)[shown_UC].sum(axis=1)
    size = shown_UC.shape[1]
    found: Float64 = 1.0 - (length_U - own_U) / (size * (size - 1))
    return found


def genre_shares(catalogue: Catalogue, candidates: tuple[str, ...]) -> Float64:
    """Return float64[M, G]: 1 divided among a candidate's genres; zeros where none is known."""
    genres = sorted({genre for names in catalogue.genres for genre in names})
    column = {genre: at for at, genre in enumerate(genres)}
    row = {item: at for at, item in enumerate(candidates)}
    shares = np.zeros((len(candidates), len(genres)))
    for item, names in zip(catalogue.item_ids, catalogue.genres, strict=True):
        if item in row:
            shares[row[item], [column[name] for name in set(names)]] = 1.0
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1.0)
    return shares


def miscalibration(shown_UC: Int64, histories: Sequences, shares_MG: Float64) -> Float64:
    """Return how far each list's genres are from the history's, float64[U]; 0 is calibrated.

    The Kullback-Leibler divergence of the history's shares from the list's, in nats; NaN where the
    history or the list has no genre. Source: Steck, RecSys 2018, eq. 5 and 6, every token of the
    history and every place of the list with the same weight.
    """
    num_lists, num_genres = len(shown_UC), shares_MG.shape[1]
    wanted_UG = np.zeros((num_lists, num_genres))
    for genre in range(num_genres):
        shares_T = shares_MG[histories.candidate_T, genre]
        wanted_UG[:, genre] = np.bincount(histories.token_users(), shares_T, minlength=num_lists)
    listed_UG = shares_MG[shown_UC].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = wanted_UG / wanted_UG.sum(axis=1, keepdims=True)
        q = listed_UG / listed_UG.sum(axis=1, keepdims=True)
        mixed = (1 - _CALIBRATION_SMOOTHING) * q + _CALIBRATION_SMOOTHING * p
        parts = np.where(p == 0, 0.0, p * np.log(p / mixed))  # NaN stays NaN: it is not 0
    found: Float64 = parts.sum(axis=1)
    return found
