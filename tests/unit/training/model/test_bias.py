import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from training.config.model import ModelConfig
from training.contracts import Histories
from training.model.backbone import Backbone
from training.model.jagged import Layout
from training.model.sight import Instants, codes_of, sights_of
from training.schema import EventSchema

CONFIG = ModelConfig(
    model_dim=8, num_heads=2, num_layers=1, max_seq_len=8, relative_bias=("position", "time")
)
KNOWN_S = torch.tensor([10, 11, 20, 40, 1000, math.nan], dtype=torch.float64)
ASKED_S = torch.tensor([11, 15, 39, 100, 1001, 2000], dtype=torch.float64)
USER, TOKEN = 9, 4


def test_codes_are_whole_logarithms() -> None:
    seconds = [0, 0.9, 1, 2, 3, 6.9, 7, 86_399, 3.1e9, -5, math.nan]

    codes = codes_of(torch.tensor(seconds, dtype=torch.float64))

    assert codes.tolist() == [0, 0, 1, 1, 2, 2, 3, 16, 31, 0, 34]


@pytest.mark.parametrize("is_known", [False, True])
def test_scores_are_those_of_a_mask_written_out(*, is_known: bool) -> None:
    config = replace(CONFIG, request_time_known=is_known)
    torch.manual_seed(0)
    attention = Backbone(config).blocks[0].attention
    for weight in attention.parameters():
        torch.nn.init.normal_(weight)
    layout, qkv_SX = Layout.of(np.array([6])), torch.randn(6, 24)
    (group,), (sight,) = (
        layout.groups,
        sights_of(config, layout.groups, Instants(KNOWN_S, ASKED_S)),
    )

    found = attention(qkv_SX, group, sight)

    now_S = ASKED_S if is_known else KNOWN_S
    mask_HLL = torch.full((2, 6, 6), -math.inf)
    for at in range(6):
        for before in range(at + 1):
            elapsed_s = float(now_S[at] - KNOWN_S[before])
            code = 34 if math.isnan(elapsed_s) else int(math.log2(elapsed_s + 1))
            mask_HLL[:, at, before] = (
                attention.bias.by_position[:, at - before] + attention.bias.by_time[:, code]
            )
    q_HLK, k_HLK, v_HLK = qkv_SX.view(6, 3, 2, 4).permute(1, 2, 0, 3)
    expected = F.scaled_dot_product_attention(q_HLK, k_HLK, v_HLK, attn_mask=mask_HLL)
    torch.testing.assert_close(found, expected.transpose(0, 1).flatten(1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("block", ["transformer", "sasrec", "hstu"])
def test_a_model_begins_as_the_one_without_a_bias(block: str) -> None:
    plain = Backbone(replace(CONFIG, block=block, relative_bias=()))
    biased = Backbone(replace(CONFIG, block=block))
    missing, _ = biased.load_state_dict(plain.state_dict(), strict=False)
    x_PD, layout = torch.randn(6, 8), Layout.of(np.array([6]))
    instants = Instants(KNOWN_S, ASKED_S)

    assert sorted(missing) == [
        "blocks.0.attention.bias.by_position",
        "blocks.0.attention.bias.by_time",
    ]
    torch.testing.assert_close(
        biased(x_PD, layout, instants), plain(x_PD, layout, instants), rtol=0, atol=1e-6
    )


def _moved(histories: Histories) -> Histories:
    """Let a token begin later, and all that follow it."""
    first_at, last_at = histories.first_at.copy(), histories.last_at.copy()
    token, end = int(histories.offsets[USER]) + TOKEN, int(histories.offsets[USER + 1])
    first_at[token:end] += 40_000_000_000
    last_at[token:end] += 40_000_000_000
    return replace(histories, first_at=first_at, last_at=last_at)


@pytest.fixture
def scores(
    make_scorer: Callable[..., Any], histories: Histories, watching: EventSchema
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Score the user's tokens as they are and with one that begins later.

    The input's own times are off: only the bias can tell.
    """
    users = slice(int(histories.offsets[USER]), int(histories.offsets[USER + 1]))

    def of(config: ModelConfig) -> tuple[Tensor, Tensor]:
        scorer = make_scorer(histories, watching, [f"i{n}" for n in range(11)], config)
        before, after = (scorer.scores_of_tokens(one) for one in (histories, _moved(histories)))
        return before[users], after[users]

    return of


@pytest.mark.parametrize("block", ["transformer", "sasrec", "hstu"])
def test_history_only_says_nothing_of_when_a_token_begins(
    scores: Callable[..., tuple[Tensor, Tensor]], block: str
) -> None:
    config = replace(CONFIG, block=block, max_seq_len=16, input_facets=False, num_layers=2)

    before, after = scores(config)

    assert torch.equal(before[: TOKEN + 1], after[: TOKEN + 1])
    assert not torch.equal(before[TOKEN + 1], after[TOKEN + 1])


@pytest.mark.parametrize("block", ["transformer", "sasrec", "hstu"])
def test_a_known_request_tells_when_its_own_token_begins_and_no_later_one(
    scores: Callable[..., tuple[Tensor, Tensor]], block: str
) -> None:
    config = replace(CONFIG, block=block, max_seq_len=16, input_facets=False, num_layers=2)

    before, after = scores(replace(config, request_time_known=True))

    assert torch.equal(before[:TOKEN], after[:TOKEN])
    assert not torch.equal(before[TOKEN], after[TOKEN])
