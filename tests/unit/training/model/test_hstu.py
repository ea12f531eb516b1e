import numpy as np
import torch
from torch.nn import functional as F

from training.config.model import ModelConfig
from training.model.backbone import Backbone
from training.model.hstu import HstuBlock
from training.model.jagged import Layout
from training.model.sight import Instants, sights_of

CONFIG = ModelConfig(block="hstu", model_dim=8, num_heads=2, positions="learned", num_layers=1)


def test_a_block_is_its_formula_written_out() -> None:
    torch.manual_seed(0)
    block = HstuBlock(CONFIG)
    x_LD = torch.randn(5, 8)
    layout, unused = Layout.of(np.array([5])), torch.zeros(5)
    sights = sights_of(CONFIG, layout.groups, Instants(unused, unused))

    found = block(x_LD, lambda attention, qkv: layout.in_groups(qkv, attention, sights), None, None)

    normed_LD = x_LD / (x_LD**2).mean(dim=1, keepdim=True).sqrt()
    q_LD, k_LD, v_LD, gate_LD = F.silu(normed_LD @ block.project_in.weight.T).chunk(4, dim=1)
    mixed_LD = torch.zeros(5, 8)
    for head in (slice(0, 4), slice(4, 8)):
        for at in range(5):
            for before in range(at + 1):
                score = (q_LD[at, head] * k_LD[before, head]).sum() / 4**0.5
                mixed_LD[at, head] += F.silu(score) * v_LD[before, head] / (at + 1)
    centred_LD = mixed_LD - mixed_LD.mean(dim=1, keepdim=True)
    spread_L1 = ((centred_LD**2).mean(dim=1, keepdim=True) + 1e-6).sqrt()
    expected = x_LD + (centred_LD / spread_L1 * gate_LD) @ block.project_out.weight.T
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_block_has_no_feed_forward_part() -> None:
    count = sum(weight.numel() for weight in HstuBlock(CONFIG).parameters())

    assert count == 8 + 5 * 8 * 8


def test_the_names_of_a_transformers_weights_stay() -> None:
    names = set(Backbone(ModelConfig(num_layers=1, feed_forward="plain")).state_dict())

    assert names == {
        "blocks.0.attention_norm.weight",
        "blocks.0.project_in.weight",
        "blocks.0.project_out.weight",
        "blocks.0.hidden_norm.weight",
        "blocks.0.hidden_in.weight",
        "blocks.0.hidden_in.bias",
        "blocks.0.hidden_out.weight",
        "blocks.0.hidden_out.bias",
        "norm.weight",
    }
