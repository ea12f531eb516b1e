from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from training.config.model import ModelConfig
from training.model.backbone import Backbone
from training.model.jagged import Layout
from training.model.reach import Reach
from training.model.sight import Instants

CONFIG = ModelConfig(model_dim=8, num_heads=2, num_layers=2, hidden_dim=16, max_seq_len=64)
SHAPES: list[dict[str, Any]] = [
    {},
    {"block": "hstu"},
    {"relative_bias": ("position", "time")},
    {"block": "hstu", "relative_bias": ("position", "time")},
]


def outputs(config: ModelConfig, x_PD: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    torch.manual_seed(0)
    layers = Backbone(config)
    for weight in layers.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    at_P = torch.cumsum(torch.arange(1.0, len(x_PD) + 1, dtype=torch.float64), dim=0)
    hidden_PD: torch.Tensor = layers(x_PD, Layout.of(np.array(lengths)), Instants(at_P, at_P + 1))
    return hidden_PD


@pytest.mark.parametrize(("length", "window", "num_global"), [(7, 3, 1), (9, 3, 0), (20, 4, 5)])
def test_each_position_sees_the_newest_and_the_first_once(
    length: int, window: int, num_global: int
) -> None:
    reach = Reach.of(length, window=window, num_global=num_global)
    at_11L1 = torch.arange(length)[None, None, :, None]
    key_CM = reach.keys(at_11L1)[0, 0, :, :, 0]
    distance_QM = reach.distance(torch.device("cpu")).flatten(0, 1)[:length]
    key_QM = key_CM.repeat_interleave(window, dim=0)[:length]

    for at in range(length):
        seen = key_QM[at][distance_QM[at] >= 0].tolist()
        expected = [k for k in range(at + 1) if at - k < window or k < num_global]
        assert sorted(seen) == expected
        assert (at - key_QM[at] == distance_QM[at])[distance_QM[at] >= 0].all()
    assert int(reach.distance(torch.device("cpu")).max()) < length
    assert torch.equal(reach.rows(reach.queries(at_11L1)), at_11L1)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_window_changes_nothing_where_the_history_is_shorter(shape: dict[str, Any]) -> None:
    config = replace(CONFIG, **shape)
    x_PD = torch.randn(3 + 20 + 24, 8)

    dense = outputs(config, x_PD, [3, 20, 24])
    sparse = outputs(replace(config, attention_window=20, attention_global=4), x_PD, [3, 20, 24])

    assert torch.equal(dense, sparse)


@pytest.mark.parametrize("shape", SHAPES)
def test_chunks_give_what_a_masked_square_gives(
    shape: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, attention_window=5, attention_global=2, **shape)
    x_PD = torch.randn(6 + 33, 8)
    sparse = outputs(config, x_PD, [6, 33])

    def masked(self: Reach, device: torch.device) -> torch.Tensor:
        at_L = torch.arange(self.length, device=device)
        distance_LL = at_L[:, None] - at_L
        is_seen = (distance_LL >= 0) & ((distance_LL < 5) | (at_L < 2))
        return distance_LL.where(is_seen, -1)[None]

    with monkeypatch.context() as patched:
        one_chunk = classmethod(lambda cls, length, **_: cls(length, 0, 0))
        patched.setattr(Reach, "of", one_chunk)
        patched.setattr(Reach, "distance", masked)
        patched.setattr("training.model.sight._is_dense", lambda *_: False)
        expected = outputs(config, x_PD, [6, 33])

    torch.testing.assert_close(sparse, expected, rtol=0, atol=1e-5)


def test_what_lies_out_of_reach_of_all_layers_changes_nothing() -> None:
    config = replace(CONFIG, attention_window=5, attention_global=1)
    x_PD = torch.randn(30, 8)
    changed_PD = x_PD.clone()
    changed_PD[10] += 1.0

    before, after = outputs(config, x_PD, [30]), outputs(config, changed_PD, [30])

    reached = range(10, 10 + 2 * (5 - 1) + 1)  # a window in each of two layers
    moved = (before != after).any(dim=1).nonzero().flatten().tolist()
    assert moved == list(reached)
