"""The systems of a comparison: baselines with what was chosen for them, and recipes by seed."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.quality.kept import trained_model
from training.artifact import Model
from training.config.run import RunConfig
from training.data import TrainingData
from training.evaluation.asked import Asked, Sequences
from training.evaluation.baselines.als import AlsConfig, als
from training.evaluation.baselines.item_knn import ItemKnnConfig, item_knn
from training.evaluation.baselines.markov import markov
from training.evaluation.baselines.popularity import popularity
from training.evaluation.comparison import NAMES
from training.evaluation.ranking import Float32, Score

CHOSEN_BY = "ndcg_at_10"
"""Of the validation questions, seen items removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What answers questions."""

    score: Callable[[Asked], Score]
    item_vectors: Float32 | None = None
    """float32[M, D]: of the candidates, where it has any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One row of a table, or one seed of it."""

    name: str
    fitted: Fitted
    configuration: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    training_s: float = 0.0

    @property
    def max_len(self) -> int | None:
        """Tokens of a history that it reads; None: all, or no order at all."""
        return self.configuration.get("model", {}).get("max_seq_len")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A baseline, and the configurations to choose from."""

    name: str
    grid: Sequence[Any]
    fit: Callable[[Sequences, Any], Fitted]


def _fit_item_knn(learned: Sequences, config: ItemKnnConfig) -> Fitted:
    neighbours = item_knn(learned, config)
    return Fitted(score=lambda asked: neighbours(asked.history_sequences()))


def _fit_als(learned: Sequences, config: AlsConfig) -> Fitted:
    factors = als(learned, config)
    return Fitted(
        score=lambda asked: factors.score(asked.history_sequences()), item_vectors=factors.item_MD
    )


FAMILIES = (
    Family(
        name="popularity",
        grid=[None],
        fit=lambda learned, _: Fitted(score=lambda _: popularity(learned)),
    ),
    Family(
        name="markov",
        grid=[None],
        fit=lambda learned, _: Fitted(
            score=lambda asked: markov(learned, asked.history_sequences())
        ),
    ),
    Family(
        name="item_knn",
        grid=[
            ItemKnnConfig(num_neighbours=neighbours, shrinkage=shrinkage)
            for neighbours, shrinkage in product((5, 20, 100), (0.0, 20.0))
        ],
        fit=_fit_item_knn,
    ),
    Family(
        name="als",
        grid=[
            AlsConfig(num_factors=factors, regularization=regularization)
            for factors, regularization in product((64, 128, 256), (1.0, 30.0))
        ],
        fit=_fit_als,
    ),
)


def baseline(family: Family, *, validation: Asked, asked: Asked) -> System:
    """Return a baseline that learned what ``asked`` allows, with the grid's best configuration.

    Best on the validation questions; nothing of ``asked`` is looked at.
    """
    config = family.grid[0]
    if len(family.grid) > 1:
        learned = validation.learned_sequences()
        config = max(family.grid, key=lambda one: _quality(family.fit(learned, one), validation))
    started = time.perf_counter()
    fitted = family.fit(asked.learned_sequences(), config)
    return System(
        name=family.name,
        fitted=fitted,
        configuration={} if config is None else asdict(config),
        training_s=time.perf_counter() - started,
    )


def _quality(fitted: Fitted, validation: Asked) -> float:
    ranks = validation.rank(fitted.score(validation), seen=validation.seen())
    return float(validation.metrics(ranks)[:, NAMES.index(CHOSEN_BY)].mean())


def trained_as(
    name: str,
    config: RunConfig,
    data: TrainingData,
    score: Callable[[Model, Asked], Score],
    *,
    models: Path | None = None,
) -> System:
    """Return the model of a config, trained on ``data`` alone; ``score`` says how it is asked.

    ``models`` is where it is kept, or found.
    """
    model, spent = trained_model(config, data, models)
    return System(
        name=name,
        fitted=Fitted(score=lambda asked: score(model, asked)),
        configuration=config.to_json(),
        seed=config.seed,
        training_s=spent["wall_s"],
    )
