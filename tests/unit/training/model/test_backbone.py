import torch

from training.config import ModelConfig
from training.model.backbone import Backbone, rotary, rotate, visible

CONFIG = ModelConfig(model_dim=8, num_heads=2, hidden_dim=16, max_seq_len=8, dropout=0.0)


def backbone() -> Backbone:
    torch.manual_seed(0)
    return Backbone(CONFIG).eval()


def test_a_later_position_never_changes_an_earlier_output() -> None:
    x_BLD = torch.randn(2, 6, 8)
    segment_BL, position_BL = torch.zeros(2, 6, dtype=torch.long), torch.arange(6).expand(2, 6)
    changed_BLD = x_BLD.clone()
    changed_BLD[:, 4:] += 1.0
    layers = backbone()

    before = layers(x_BLD, segment_BL, position_BL)
    after = layers(changed_BLD, segment_BL, position_BL)

    torch.testing.assert_close(before[:, :4], after[:, :4], rtol=0, atol=0)
    assert not torch.equal(before[:, 4:], after[:, 4:])


def test_a_neighbour_in_the_row_never_changes_an_output() -> None:
    x_BLD = torch.randn(1, 6, 8)
    segment_BL = torch.tensor([[0, 0, 0, 1, 1, 1]])
    position_BL = torch.tensor([[0, 1, 2, 0, 1, 2]])
    changed_BLD = x_BLD.clone()
    changed_BLD[:, :3] += 1.0
    layers = backbone()

    before = layers(x_BLD, segment_BL, position_BL)
    after = layers(changed_BLD, segment_BL, position_BL)

    torch.testing.assert_close(before[:, 3:], after[:, 3:], rtol=0, atol=0)


def test_padding_is_seen_by_nothing_and_sees_something() -> None:
    visible_LM = visible(torch.tensor([[0, 0, -1, -1]]))[0, 0]

    assert not visible_LM[:2, 2:].any()
    assert visible_LM.any(dim=1).all()


def test_attention_depends_on_distance_only() -> None:
    q_1HLK, k_1HLK = torch.randn(1, 1, 1, 4), torch.randn(1, 1, 1, 4)

    def score(q_at: int, k_at: int) -> float:
        q = rotate(q_1HLK, rotary(torch.tensor([[q_at]]), 4))
        k = rotate(k_1HLK, rotary(torch.tensor([[k_at]]), 4))
        return float((q * k).sum())

    assert abs(score(5, 2) - score(103, 100)) < 1e-4
    assert abs(score(5, 2) - score(5, 3)) > 1e-3
