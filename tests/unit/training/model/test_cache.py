from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.training.model.conftest import AS_OF, CONFIG
from training.config.model import ModelConfig
from training.contracts import Histories
from training.features.tokens import TokenFeatures, build_token_features
from training.model.batch import Batch, gather_batch, gather_queries, gather_steps
from training.model.cache import NoRoomError, append, ask, encode
from training.packing import newest_windows, pack, query_windows
from training.schema import EventSchema

BIASES: list[dict[str, Any]] = [
    {},
    {"relative_bias": ("position",)},
    {"relative_bias": ("position", "time")},
    {"relative_bias": ("position", "time"), "request_time_known": True},
    {"relative_bias": ("position", "time"), "attention_window": 3, "attention_global": 1},
    {"attention_window": 3},
    {"positions": "learned"},
    {"user_state": "mean", "user_state_newest": 3},
    {"user_state": "attention", "user_state_newest": 12, "layer_mix": True},
]
USERS = np.arange(5, 16)  # six to sixteen tokens, the longest filling the window


@dataclass(frozen=True)
class Case:
    """A model, its items and the tokens of some users."""

    network: Any
    encoding: Tensor
    tokens: TokenFeatures

    def start(self, newest: int) -> Batch:
        """Return the windows without each user's newest tokens."""
        ends = self.tokens.offsets[USERS + 1] - newest
        windows = newest_windows(self.tokens.offsets, max_len=16, users=USERS, ends=ends)
        return gather_batch(self.tokens, pack(windows))

    def whole(self) -> Tensor:
        """Return the hidden states of all tokens, ``[U, newest 3, D]``."""
        packed = pack(newest_windows(self.tokens.offsets, max_len=16, users=USERS))
        hidden_PD = self.network.hidden(self.encoding, gather_batch(self.tokens, packed))
        return hidden_PD[torch.from_numpy(packed.lasts)[:, None] + torch.tensor([-2, -1, 0])]

    def steps(self, count: int) -> list[Batch]:
        """Return the position of every user's newest tokens."""
        return gather_steps(self.tokens, USERS, count=count)


@pytest.fixture
def make_case(
    make_scorer: Callable[..., Any], histories: Histories, watching: EventSchema
) -> Callable[[ModelConfig], Case]:
    def make(config: ModelConfig) -> Case:
        scorer = make_scorer(histories, watching, [f"i{n}" for n in range(11)], config)
        tokens = build_token_features(histories, scorer.spec, scorer.items, as_of=AS_OF)
        with torch.no_grad():
            encoding_MD, _ = scorer.network.items(scorer.items)
        return Case(scorer.network, encoding_MD, tokens)

    return make


@pytest.mark.parametrize("block", ["transformer", "sasrec", "hstu"])
@pytest.mark.parametrize("shape", BIASES)
def test_appended_tokens_give_what_a_whole_forward_gives(
    make_case: Callable[..., Case], block: str, shape: dict[str, Any]
) -> None:
    case = make_case(replace(CONFIG, block=block, **shape))
    states = encode(case.network, case.encoding, case.start(newest=3))

    hidden_NUD = append(case.network, case.encoding, states, case.steps(3))

    expected_UND = case.whole().detach()
    torch.testing.assert_close(hidden_NUD.transpose(0, 1), expected_UND, rtol=0, atol=1e-4)


def test_a_request_is_answered_and_forgotten(make_case: Callable[..., Case]) -> None:
    case = make_case(replace(CONFIG, relative_bias=("position", "time"), request_time_known=True))
    states = encode(case.network, case.encoding, case.start(newest=1))
    again = encode(case.network, case.encoding, case.start(newest=1))

    answer_UD = ask(case.network, case.encoding, states, gather_queries(case.tokens, USERS))
    appended = append(case.network, case.encoding, states, case.steps(1))

    untouched = append(case.network, case.encoding, again, case.steps(1))
    assert torch.equal(appended, untouched)
    assert not torch.isclose(answer_UD, appended[0]).all(dim=1).any()


def test_a_request_is_answered_as_at_the_end_of_a_window(make_case: Callable[..., Case]) -> None:
    case = make_case(replace(CONFIG, relative_bias=("position", "time"), request_time_known=True))
    users = USERS[:-1]  # a query takes a position, which the longest history does not leave
    windows = query_windows(case.tokens.offsets, max_len=16, users=users)
    packed = pack(windows)
    expected_PD = case.network.hidden(case.encoding, gather_batch(case.tokens, packed))
    states = encode(
        case.network,
        case.encoding,
        gather_batch(
            case.tokens, pack(newest_windows(case.tokens.offsets, max_len=16, users=users))
        ),
    )

    found_UD = ask(case.network, case.encoding, states, gather_queries(case.tokens, users))

    expected_UD = expected_PD[torch.from_numpy(packed.lasts)].detach()
    torch.testing.assert_close(found_UD, expected_UD, rtol=0, atol=1e-4)


def test_a_full_state_refuses_and_keeps_what_it_has(make_case: Callable[..., Case]) -> None:
    case = make_case(CONFIG)
    states = encode(case.network, case.encoding, case.start(newest=1))
    assert states.room == 1
    before = states.keys[0].clone()

    with pytest.raises(NoRoomError, match="room for 1 positions, got 2"):
        append(case.network, case.encoding, states, case.steps(2))

    assert torch.equal(states.keys[0], before)
    append(case.network, case.encoding, states, case.steps(1))
    with pytest.raises(NoRoomError, match="no room for a request"):
        ask(case.network, case.encoding, states, gather_queries(case.tokens, USERS))


def test_a_users_first_token_has_nothing_before_it(make_case: Callable[..., Case]) -> None:
    tokens = make_case(CONFIG).tokens
    second_U = np.array([1])  # the user with two tokens

    steps = gather_steps(tokens, second_U, count=2)

    assert [len(step.first_F) for step in steps] == [1, 0]
    assert not len(gather_queries(tokens, second_U).first_F)


def test_users_are_kept_in_the_order_of_their_windows(make_case: Callable[..., Case]) -> None:
    case = make_case(CONFIG)

    states = encode(case.network, case.encoding, case.start(newest=1))

    assert states.length_U.tolist() == [int(user) for user in USERS]
