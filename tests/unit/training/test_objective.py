from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from training.config.model import HeadsConfig
from training.config.run import RunConfig
from training.features.heads import heads_of
from training.features.items import build_item_features
from training.features.spec import build_spec
from training.features.tokens import build_token_features
from training.loop import deterministic, train
from training.model.loss import cross_entropy
from training.model.recommender import Recommender
from training.objective import loss_of, read_in_training
from training.packing import newest_windows, pack
from training.problem import Problem, age_weights, ask
from training.recipes import tiny
from training.setting import Setting
from training.shards import generator
from training.tokens.targets import is_target

EVERY = ("action", "duration", "genres", "kind", "time_to_next", "device", "canvas")


@pytest.fixture(scope="module")
def make(small_lake: Any) -> Callable[..., tuple[Recommender, Problem, RunConfig]]:
    """Build a network, what it learns and its config, with some heads."""
    data = small_lake.data(small_lake.days[1])
    histories, schema, catalogue = data.histories(), data.schema(), data.catalogue()
    spec = build_spec(schema, histories, catalogue)
    items = build_item_features(data.vocabulary().item_ids, catalogue, spec)
    tokens = build_token_features(histories, spec, items, as_of=data.as_of)
    weights = age_weights(histories, tiny().targets, as_of=data.as_of)
    weights *= is_target(histories, schema)
    target_TK, weight_TK = ask(histories, tokens.item_T.numpy()[:-1], weights, tiny().targets)
    problem = Problem(
        items=items,
        tokens=tokens,
        windows=newest_windows(tokens.offsets, max_len=32),
        target_TK=target_TK,
        weight_TK=weight_TK,
    )

    def built(*names: str, **changes: Any) -> tuple[Recommender, Problem, RunConfig]:
        model = replace(tiny().model, heads=HeadsConfig(names=names, **changes))
        assert set(names) <= set(heads_of(spec))
        torch.manual_seed(0)
        network = Recommender(model, spec, vocabulary_size=items.num_vocabulary)
        return network, problem, replace(tiny(), model=model)

    return built


def step_loss(network: Recommender, problem: Problem, config: RunConfig) -> Tensor:
    hidden_M = torch.zeros(len(problem.items.ids), dtype=torch.bool)
    return loss_of(network, problem, pack(problem.windows), config, hidden_M, generator(1))


def item_loss(
    network: Recommender, problem: Problem, config: RunConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss of the items, as ever, with the hidden states and tokens that were asked."""
    packed, draw = pack(problem.windows), generator(1)
    batch, _ = read_in_training(problem, packed, config.model, draw)
    encoding_MD, bias_M = network.items(
        problem.items, torch.zeros(len(problem.items.ids), dtype=torch.bool)
    )
    token_P = torch.from_numpy(packed.current_P)
    is_asked_P = problem.weight_TK[token_P].sum(dim=1) > 0
    token_R = token_P[is_asked_P]
    hidden_RD = network.hidden(encoding_MD, batch, draw)[is_asked_P]
    loss = cross_entropy(
        network.user_vectors(hidden_RD),
        network.item_vectors(encoding_MD, bias_M),
        problem.target_TK[token_R],
        problem.weight_TK[token_R],
        chunk=config.chunk_targets,
    )
    return loss, hidden_RD, token_R


def test_without_heads_a_step_minimises_the_items_loss_to_the_bit(make: Callable[..., Any]) -> None:
    network, problem, config = make()

    assert torch.equal(step_loss(network, problem, config), item_loss(network, problem, config)[0])


def test_flat_heads_add_their_loss_of_each_positions_own_token(make: Callable[..., Any]) -> None:
    network, problem, config = make("duration", "genres", weight=0.3)
    of_items, hidden_RD, token_R = item_loss(network, problem, config)

    found = step_loss(network, problem, config)

    # nothing that is read tells of these two, so that all positions are asked
    right = network.heads.answers(
        problem.tokens,
        problem.items,
        token_R,
        problem.tokens.item_T[token_R],
        {},
    )
    weight_R = problem.weight_TK[token_R, 0]
    of_heads = network.heads.loss(hidden_RD, right, weight_R)
    assert of_heads > 0
    torch.testing.assert_close(found, of_items + 0.3 * of_heads)


def test_heads_without_weight_leave_the_items_loss_as_it_is(make: Callable[..., Any]) -> None:
    names = ("action", "genres", "device")  # none of which hides more than is hidden anyway

    assert torch.equal(step_loss(*make(*names, weight=0.0)), step_loss(*make()))


@pytest.mark.parametrize("hierarchical", [False, True])
def test_heads_learn_beside_the_item(
    make: Callable[..., Any], hierarchical: bool, tracker: Any
) -> None:
    network, problem, config = make(*EVERY, hierarchical=hierarchical)

    def of_heads() -> float:
        with torch.no_grad():
            _, hidden_RD, token_R = item_loss(network, problem, config)
            every = torch.ones(len(token_R), dtype=torch.bool)
            right = network.heads.answers(
                problem.tokens,
                problem.items,
                token_R,
                problem.tokens.item_T[token_R],
                {"request": every, "time_to_next": every},
            )
            return float(network.heads.loss(hidden_RD, right, problem.weight_TK[token_R, 0]))

    def of_items() -> float:
        return item_loss(network, problem, config)[0].item()

    before, item_before = of_heads(), of_items()
    with deterministic(1):
        train(
            network,
            problem,
            config,
            optim=config.optim,
            num_epochs=4,
            setting=Setting(tracker=tracker),
        )

    assert of_heads() < 0.8 * before
    assert of_items() < item_before


@pytest.mark.parametrize("names", [("device",), ("device", "time_to_next")])
def test_positions_are_read_as_in_service_too(
    make: Callable[..., Any], names: tuple[str, ...]
) -> None:
    _, problem, config = make(*names)
    is_known_P = problem.tokens.gap_T[torch.from_numpy(pack(problem.windows).current_P)] > 0

    batch, unread = read_in_training(problem, pack(problem.windows), config.model, generator(1))

    no_request_P, no_gap_P = batch.request_PC.eq(0).all(dim=1), is_known_P & (batch.gap_P == 0)
    assert torch.equal(no_request_P, unread["request"])
    if "time_to_next" in names:
        assert torch.equal(no_gap_P, is_known_P & unread["time_to_next"])
        # some gaps are hidden, never with a request that tells the hour
        assert 0.2 < no_gap_P.sum() / is_known_P.sum() < 0.3
        assert not (no_gap_P & ~no_request_P).any()
    else:
        assert not no_gap_P.any()
