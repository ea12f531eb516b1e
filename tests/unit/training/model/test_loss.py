import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from training.model.loss import cross_entropy


def case(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    user_RS = torch.randn(7, 5, generator=draw, dtype=dtype, requires_grad=True)
    item_MS = torch.randn(11, 5, generator=draw, dtype=dtype, requires_grad=True)
    target_RK = torch.randint(0, 11, (7, 3), generator=draw)
    weight_RK = torch.rand(7, 3, generator=draw, dtype=dtype)
    weight_RK[2, 1:] = 0.0
    return user_RS, item_MS, target_RK, weight_RK


def reference(user_RS: Tensor, item_MS: Tensor, target_RK: Tensor, weight_RK: Tensor) -> Tensor:
    log_share_RM = F.log_softmax(user_RS @ item_MS.T, dim=1)
    return -(log_share_RM.gather(1, target_RK) * weight_RK).sum()


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_value_and_gradients_are_those_of_the_whole_softmax(chunk: int) -> None:
    user_RS, item_MS, target_RK, weight_RK = case()
    expected = torch.autograd.grad(
        reference(user_RS, item_MS, target_RK, weight_RK), (user_RS, item_MS)
    )

    loss = cross_entropy(user_RS, item_MS, target_RK, weight_RK, chunk=chunk)
    found = torch.autograd.grad(loss, (user_RS, item_MS))

    torch.testing.assert_close(loss, reference(user_RS, item_MS, target_RK, weight_RK))
    torch.testing.assert_close(found, expected)


def test_large_logits_neither_overflow_nor_vanish() -> None:
    user_RS, item_MS, target_RK, weight_RK = case(torch.float32)

    loss = cross_entropy(user_RS * 1e4, item_MS, target_RK, weight_RK, chunk=4)

    assert torch.isfinite(loss)
    torch.testing.assert_close(loss, reference(user_RS * 1e4, item_MS, target_RK, weight_RK))


def test_a_target_without_weight_moves_nothing() -> None:
    user_RS, item_MS, target_RK, weight_RK = case()
    other_RK = target_RK.clone()
    other_RK[2, 1:] = (target_RK[2, 1:] + 1) % 11

    one = cross_entropy(user_RS, item_MS, target_RK, weight_RK, chunk=4)
    other = cross_entropy(user_RS, item_MS, other_RK, weight_RK, chunk=4)

    torch.testing.assert_close(one, other, rtol=0, atol=0)
