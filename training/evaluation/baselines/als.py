"""Baseline of matrix factorisation: weighted least squares over all pairs, by ``implicit``."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluation.asked import Sequences
from training.evaluation.baselines.matrices import chosen_matrix
from training.evaluation.ranking import Float32, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class AlsConfig:
    """Shape and weights of a factorisation."""

    num_factors: int = 64
    regularization: float = 1.0
    alpha: float = 1.0
    """Weight of a chosen pair, where one that was not chosen has 1."""
    num_iterations: int = 15
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Factors:
    """A factorisation, whose item vectors stay as they are."""

    item_MD: Float32
    _model: Any

    def score(self, histories: Sequences) -> Score:
        """Return the products of item vectors with vectors solved for the histories."""
        from threadpoolctl import threadpool_limits

        rows = np.arange(len(histories.offsets) - 1)
        with threadpool_limits(limits=1, user_api="blas"):
            user_UD: Float32 = self._model.recalculate_user(rows, chosen_matrix(histories))

        def score(users: slice) -> Float32:
            scores: Float32 = user_UD[users] @ self.item_MD.T
            return scores

        return score


def als(learned: Sequences, config: AlsConfig) -> Factors:
    """Return the factorisation of what was chosen.

    Source: Hu, Koren and Volinsky, ICDM 2008; that its weights need choosing: Rendle et al.,
    "Revisiting the performance of iALS", RecSys 2022, arXiv:2110.14037. One thread: its sums, and
    so its vectors, are then the same in every run.
    """
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        model = AlternatingLeastSquares(
            factors=config.num_factors,
            regularization=config.regularization,
            alpha=config.alpha,
            iterations=config.num_iterations,
            num_threads=1,
            random_state=config.seed,
        )
        model.fit(chosen_matrix(learned), show_progress=False)
    return Factors(model.item_factors, model)
