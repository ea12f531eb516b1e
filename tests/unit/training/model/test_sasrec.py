import numpy as np
import torch
from torch.nn import functional as F

from training.config.model import ModelConfig
from training.model.jagged import Layout
from training.model.sasrec import SasrecBlock
from training.model.sight import Instants, sights_of

CONFIG = ModelConfig(
    block="sasrec", model_dim=8, num_heads=2, hidden_dim=12, positions="learned", norm="layer"
)


def test_a_block_is_its_formula_written_out() -> None:
    torch.manual_seed(0)
    block = SasrecBlock(CONFIG)
    for weight in block.parameters():  # branches that begin with little hide their mistakes
        torch.nn.init.normal_(weight)
    x_LD = 3 * torch.randn(5, 8)
    layout, unused = Layout.of(np.array([5])), torch.zeros(5)
    sights = sights_of(CONFIG, layout.groups, Instants(unused, unused))

    found = block(x_LD, lambda attention, qkv: layout.in_groups(qkv, attention, sights), None, None)

    normed_LD = F.layer_norm(x_LD, (8,), block.attention_norm.weight, block.attention_norm.bias)
    q_LD = normed_LD @ block.query_in.weight.T
    k_LD, v_LD = (x_LD @ block.keys_and_values_in.weight.T).chunk(2, dim=1)
    mixed_LD = torch.zeros(5, 8)
    for head in (slice(0, 4), slice(4, 8)):
        for at in range(5):
            score = q_LD[at, head] @ k_LD[: at + 1, head].T / 4**0.5
            mixed_LD[at, head] = score.softmax(dim=0) @ v_LD[: at + 1, head]
    y_LD = normed_LD + mixed_LD @ block.project_out.weight.T
    y_LD = F.layer_norm(y_LD, (8,), block.hidden_norm.weight, block.hidden_norm.bias)
    expected = y_LD + block.hidden_out(F.relu(block.hidden_in(y_LD)))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


def test_branches_begin_near_nothing() -> None:
    torch.manual_seed(0)
    block, x_LD = SasrecBlock(CONFIG), torch.randn(5, 8)
    layout, unused = Layout.of(np.array([5])), torch.zeros(5)
    sights = sights_of(CONFIG, layout.groups, Instants(unused, unused))

    found = block(x_LD, lambda attention, qkv: layout.in_groups(qkv, attention, sights), None, None)

    torch.testing.assert_close(found, F.layer_norm(x_LD, (8,)), rtol=0, atol=0.3)
