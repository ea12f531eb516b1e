import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from training.config.model import ModelConfig
from training.model.attention import rotary, rotate
from training.model.backbone import Backbone
from training.model.jagged import Layout
from training.model.sight import Instants

CONFIG = ModelConfig(model_dim=8, num_heads=2, hidden_dim=16, max_seq_len=8, dropout=0.5)
LENGTHS = np.array([2, 3, 6])
LAST = slice(5, 11)  # the positions of the longest window
_SECONDS = torch.tensor([0, 9, 0, 3, 99, math.nan, 0, 5, 50, 500, 5000], dtype=torch.float64)
INSTANTS = Instants(_SECONDS, _SECONDS + 2)

SHAPES: dict[str, dict[str, Any]] = {
    "default": {},
    "plain": {"norm": "layer", "feed_forward": "plain", "positions": "learned"},
    "sasrec": {"block": "sasrec", "norm": "layer", "positions": "learned"},
    "hstu": {"block": "hstu"},
    "positions": {"relative_bias": ("position",)},
    "time": {"relative_bias": ("position", "time")},
    "window": {"attention_window": 2, "attention_global": 1},
    "hstu window": {
        "block": "hstu",
        "relative_bias": ("position", "time"),
        "attention_window": 2,
        "attention_global": 1,
    },
    "hstu time": {"block": "hstu", "relative_bias": ("position", "time")},
}


@pytest.fixture(params=SHAPES)
def layers(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    layers = Backbone(replace(CONFIG, **SHAPES[request.param]))
    for name, weight in layers.named_parameters():
        if ".bias." in name:  # no zero hides a dependency
            torch.nn.init.normal_(weight)
    return layers


def test_a_later_position_never_changes_an_earlier_output(layers: Backbone) -> None:
    x_PD, layout = torch.randn(11, 8), Layout.of(LENGTHS)
    changed_PD = x_PD.clone()
    changed_PD[9:] += torch.randn(2, 8)

    before, after = layers(x_PD, layout, INSTANTS), layers(changed_PD, layout, INSTANTS)

    torch.testing.assert_close(before[:9], after[:9], rtol=0, atol=0)
    assert not torch.equal(before[9:], after[9:])


def test_a_neighbour_never_changes_an_output(layers: Backbone) -> None:
    x_PD, layout = torch.randn(11, 8), Layout.of(LENGTHS)
    changed_PD = x_PD.clone()
    changed_PD[:5] += torch.randn(5, 8)

    before, after = layers(x_PD, layout, INSTANTS), layers(changed_PD, layout, INSTANTS)

    torch.testing.assert_close(before[LAST], after[LAST], rtol=0, atol=0)
    assert not torch.isclose(before[:5], after[:5]).all()


def test_the_gradient_of_packed_windows_is_that_of_padded_ones(layers: Backbone) -> None:
    grads = []
    for together in (1.0, math.inf):
        x_PD = torch.randn(11, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
        layers.zero_grad()
        (layers(x_PD, Layout.of(LENGTHS, together=together), INSTANTS) ** 2).sum().backward()
        grads.append([x_PD.grad, *(weight.grad for weight in layers.parameters())])

    for packed, padded in zip(*grads, strict=True):
        torch.testing.assert_close(packed, padded, rtol=0, atol=1e-4)


def test_dropout_is_a_function_of_what_it_draws_from(layers: Backbone) -> None:
    x_PD, layout = torch.randn(11, 8), Layout.of(LENGTHS)

    def out(seed: int) -> torch.Tensor:
        return layers(x_PD, layout, INSTANTS, torch.Generator().manual_seed(seed))

    assert torch.equal(out(1), out(1))
    assert not torch.equal(out(1), out(2))
    assert not torch.equal(out(1), layers(x_PD, layout, INSTANTS))


def test_the_mix_of_layers_is_theirs_after_the_norm() -> None:
    torch.manual_seed(0)
    layers = Backbone(replace(CONFIG, layer_mix=True, num_layers=3))
    with torch.no_grad():
        layers.layer_mix.copy_(torch.tensor([0.2, 0.5, 0.3]).log())
    x_PD, layout = torch.randn(11, 8), Layout.of(LENGTHS)

    found = layers(x_PD, layout, INSTANTS)

    of_each = [layers.norm(given) for given in layers.layers(x_PD, layout, INSTANTS)]
    expected = 0.2 * of_each[0] + 0.5 * of_each[1] + 0.3 * of_each[2]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_attention_depends_on_distance_only() -> None:
    q_1HK, k_1HK = torch.randn(1, 1, 4), torch.randn(1, 1, 4)

    def score(q_at: int, k_at: int) -> float:
        q = rotate(q_1HK, rotary(torch.tensor([q_at]), 4))
        k = rotate(k_1HK, rotary(torch.tensor([k_at]), 4))
        return float((q * k).sum())

    assert abs(score(5, 2) - score(103, 100)) < 1e-4
    assert abs(score(5, 2) - score(5, 3)) > 1e-3
