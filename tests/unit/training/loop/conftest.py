from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import torch

from training.config.run import RunConfig
from training.contracts import Histories
from training.features.catalogue import Catalogue
from training.features.items import build_item_features
from training.features.spec import build_spec
from training.features.tokens import build_token_features
from training.loop import Trained, deterministic, train
from training.model.recommender import Recommender
from training.packing import newest_windows
from training.problem import Problem, age_weights, ask
from training.recipes import tiny
from training.schema import EventSchema
from training.setting import Setting
from training.tokens.targets import is_target

AS_OF = datetime(2026, 3, 4, tzinfo=UTC)

Learnable = tuple[Recommender, Problem, RunConfig]


def make_problem(
    histories: Histories,
    catalogue: Catalogue,
    schema: EventSchema,
    vocabulary: Sequence[str],
    config: RunConfig,
) -> tuple[Recommender, Problem]:
    spec = build_spec(schema, histories, catalogue, config.model)
    items = build_item_features(vocabulary, catalogue, spec)
    tokens = build_token_features(histories, spec, items, as_of=AS_OF)
    weights = age_weights(histories, config.targets, as_of=AS_OF)
    weights *= is_target(histories, schema)
    target_TK, weight_TK = ask(histories, tokens.item_T.numpy()[:-1], weights, config.targets)
    windows = newest_windows(tokens.offsets, max_len=32)
    torch.manual_seed(0)
    network = Recommender(config.model, spec, vocabulary_size=items.num_vocabulary)
    return network, Problem(
        items=items, tokens=tokens, windows=windows, target_TK=target_TK, weight_TK=weight_TK
    )


def small_problem(lake: Any, config: RunConfig | None = None) -> Learnable:
    config = config or tiny()
    data = lake.data(lake.days[1])
    vocabulary = data.vocabulary().item_ids
    return (
        *make_problem(data.histories(), data.catalogue(), data.schema(), vocabulary, config),
        config,
    )


@pytest.fixture
def problem(small_lake: Any) -> Learnable:
    return small_problem(small_lake)


@pytest.fixture
def make(small_lake: Any) -> Callable[[], Learnable]:
    """Return a function that makes the problem anew: the same weights every time."""
    return lambda: small_problem(small_lake)


def run(
    problem: Learnable,
    setting: Setting,
    *,
    num_epochs: int = 2,
    optim: dict[str, Any] | None = None,
    **changes: Any,
) -> Trained:
    network, learned, config = problem
    config = replace(config, **changes)
    with deterministic(1):
        return train(
            network,
            learned,
            config,
            optim=replace(config.optim, **(optim or {})),
            num_epochs=num_epochs,
            setting=setting,
        )


def weights_of(network: Recommender) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in network.parameters()]


def are_equal(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
