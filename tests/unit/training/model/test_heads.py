import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.training.model.conftest import AS_OF, CONFIG
from training.config.model import HeadsConfig, ModelConfig
from training.contracts import Histories
from training.errors import ConfigError
from training.features.heads import NOT_ASKED
from training.features.tokens import build_token_features
from training.model.batch import gather_batch, gather_steps
from training.model.cache import append, encode
from training.model.recommender import Recommender
from training.packing import newest_windows, pack
from training.schema import EventSchema

ITEMS = [f"i{n}" for n in range(11)]
NAMES = ("action", "duration", "genres", "device")
FLAT = replace(CONFIG, heads=HeadsConfig(names=NAMES))
HIERARCHICAL = replace(CONFIG, heads=HeadsConfig(names=NAMES, hierarchical=True))


@pytest.fixture
def make(
    make_scorer: Callable[..., Any], histories: Histories, watching: EventSchema
) -> Callable[[ModelConfig], Any]:
    return lambda config: make_scorer(histories, watching, ITEMS, config)


def fresh(make: Callable[[ModelConfig], Any], config: ModelConfig) -> Recommender:
    """Return a network with the weights that training begins with."""
    spec = make(config).spec
    torch.manual_seed(7)
    return Recommender(config, spec, vocabulary_size=9)


def test_heads_change_no_other_weight_to_begin_with(make: Callable[[ModelConfig], Any]) -> None:
    plain, hierarchical = fresh(make, CONFIG).state_dict(), fresh(make, HIERARCHICAL).state_dict()

    assert all(torch.equal(weight, hierarchical[name]) for name, weight in plain.items())
    assert hierarchical.keys() - plain.keys() == {
        "heads.out.weight",
        "heads.out.bias",
        "heads.told.weight",
    }


def test_the_item_is_told_nothing_to_begin_with(make: Callable[[ModelConfig], Any]) -> None:
    hidden_RD = torch.randn(5, CONFIG.model_dim)

    plain, told = (fresh(make, one).user_vectors(hidden_RD) for one in (CONFIG, HIERARCHICAL))

    assert torch.equal(plain, told)


def test_what_hierarchical_heads_say_is_part_of_the_user_vector(
    make: Callable[[ModelConfig], Any],
) -> None:
    network = make(HIERARCHICAL).network
    hidden_RD = torch.randn(5, CONFIG.model_dim)
    action, duration, genres, device = network.heads(hidden_RD)
    says = [action.sigmoid(), duration.softmax(1), genres.sigmoid(), device.softmax(1)]

    with torch.no_grad():
        found = network.user_vectors(hidden_RD)
        told_RD = hidden_RD + torch.cat(says, dim=1) @ network.heads.told.weight.T

    torch.testing.assert_close(found[:, :-1], network.user_out(told_RD), rtol=0, atol=1e-5)
    assert not torch.isclose(found[:, :-1], network.user_out(hidden_RD)).all(dim=1).any()


def test_flat_heads_leave_the_user_vector_alone(make: Callable[[ModelConfig], Any]) -> None:
    network = make(FLAT).network
    hidden_RD = torch.randn(5, CONFIG.model_dim)

    assert torch.equal(network.user_vectors(hidden_RD)[:, :-1], network.user_out(hidden_RD))


def test_a_cached_user_has_the_vector_of_a_whole_forward(
    make: Callable[[ModelConfig], Any], histories: Histories
) -> None:
    scorer, users = make(HIERARCHICAL), np.arange(5, 16)
    network = scorer.network
    tokens = build_token_features(histories, scorer.spec, scorer.items, as_of=AS_OF)
    with torch.no_grad():
        encoding_MD, _ = network.items(scorer.items)
        packed = pack(newest_windows(tokens.offsets, max_len=16, users=users))
        hidden_PD = network.hidden(encoding_MD, gather_batch(tokens, packed))
        expected = network.user_vectors(hidden_PD[torch.from_numpy(packed.lasts)])
    ends = tokens.offsets[users + 1] - 1
    windows = newest_windows(tokens.offsets, max_len=16, users=users, ends=ends)
    states = encode(network, encoding_MD, gather_batch(tokens, pack(windows)))

    hidden_NUD = append(network, encoding_MD, states, gather_steps(tokens, users, count=1))

    with torch.inference_mode():
        found = network.user_vectors(hidden_NUD[0])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_the_loss_is_minus_the_log_likelihood_of_what_is_right(
    make: Callable[[ModelConfig], Any],
) -> None:
    config = replace(CONFIG, heads=HeadsConfig(names=("action", "device")))
    heads = make(config).network.heads
    with torch.no_grad():
        heads.out.weight.zero_()
        heads.out.bias.copy_(torch.tensor([0.0, math.log(3.0), -math.log(3.0), 0.0, math.log(4.0)]))
    # play and open; then nothing known of the action, and nothing of the device
    right = [
        torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]),
        torch.tensor([1, 0, NOT_ASKED]),
    ]

    loss = heads.loss(torch.randn(3, 16), right, torch.tensor([1.0, 2.0, 0.5]))

    first = -math.log(1 / 2 * 3 / 4 * 3 / 4) / 3 - math.log(4 / 5)
    second = -math.log(1 / 5)
    third = -math.log(1 / 2 * 1 / 4 * 3 / 4) / 3
    assert float(loss.detach()) == pytest.approx(first + 2 * second + 0.5 * third, rel=1e-5)


def test_what_is_not_known_teaches_nothing(make: Callable[[ModelConfig], Any]) -> None:
    heads = make(FLAT).network.heads
    hidden_RD = torch.randn(2, 16, requires_grad=True)
    unknown = [
        torch.zeros(2, head.num_classes) if head.is_set else torch.full((2,), NOT_ASKED)
        for head in heads.chosen
    ]

    heads.loss(hidden_RD, unknown, torch.ones(2)).backward()

    assert hidden_RD.grad is not None
    assert not hidden_RD.grad.any()


def test_a_head_that_the_log_cannot_answer_is_refused(make: Callable[[ModelConfig], Any]) -> None:
    with pytest.raises(ConfigError, match=r"heads: want some of .* got 'mood'"):
        make(replace(CONFIG, heads=HeadsConfig(names=("mood",))))
