import pytest
import torch

from training.model.dropout import drop


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_the_share_is_dropped_and_the_mean_kept(share: float) -> None:
    x = torch.ones(999, 101)
    dropped = drop(x, share, torch.Generator().manual_seed(0))

    # 100,000 draws: five standard deviations are below .01
    assert abs(float((dropped == 0).float().mean()) - share) < 0.01
    assert abs(float(dropped.mean()) - 1.0) < 0.02
    assert len(dropped.unique()) == 2


def test_the_gradient_passes_where_the_value_did() -> None:
    x = torch.ones(50, 7, requires_grad=True)
    dropped = drop(x, 0.5, torch.Generator().manual_seed(0))

    dropped.sum().backward()

    assert torch.equal(x.grad, dropped.detach())


def test_without_a_generator_nothing_is_dropped() -> None:
    x = torch.ones(3)

    assert drop(x, 0.5, None) is x
    assert drop(x, 0.0, torch.Generator()) is x
