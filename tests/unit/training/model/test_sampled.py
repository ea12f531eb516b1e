import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from training.config.loss import LossConfig
from training.errors import ConfigError
from training.model.loss import cross_entropy
from training.model.sampled import (
    Asked,
    draw_negatives,
    log_expected,
    sampled_loss,
    without_targets,
)

M = 11
SHARES = torch.arange(1.0, M + 1.0) / (M * (M + 1) / 2)
CONFIG = LossConfig(kind="sampled", num_negatives=20)
ALL = replace(CONFIG, num_negatives=2000)
"""So many are drawn that every item is."""


def case() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    user_RS = torch.randn(7, 5, generator=draw, requires_grad=True)
    item_MS = torch.randn(M, 5, generator=draw, requires_grad=True)
    target_RK = torch.randint(0, M, (7, 1), generator=draw)
    return user_RS, item_MS, target_RK, torch.rand(7, 1, generator=draw)


def asking(target_RK: Tensor, weight_RK: Tensor) -> Asked:
    return Asked(torch.zeros(len(target_RK), 5), torch.zeros(M, 5), target_RK, weight_RK)


def loss(config: LossConfig, *, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return sampled_loss(Asked(*case()), config=config, share_M=SHARES, draw=draw)


@pytest.mark.parametrize("negatives", ["uniform", "popularity"])
def test_a_sample_of_everything_is_the_full_softmax(negatives: str) -> None:
    whole = cross_entropy(*case(), chunk=4)

    torch.testing.assert_close(loss(replace(ALL, negatives=negatives)), whole)
    # each is drawn almost surely: the correction is nothing then
    corrected = replace(ALL, negatives=negatives, corrects_popularity=True)
    torch.testing.assert_close(loss(corrected), whole, rtol=1e-4, atol=1e-4)


def test_the_gradient_is_that_of_the_full_softmax() -> None:
    grads = []
    for total in (
        lambda *given: cross_entropy(*given, chunk=4),
        lambda *given: sampled_loss(
            Asked(*given), config=ALL, share_M=SHARES, draw=torch.Generator().manual_seed(0)
        ),
    ):
        user_RS, item_MS, *asked = case()
        total(user_RS, item_MS, *asked).backward()
        grads.append((user_RS.grad, item_MS.grad))

    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("negatives", ["uniform", "popularity"])
def test_the_correction_estimates_the_sum_over_all_items(negatives: str) -> None:
    config = replace(CONFIG, num_negatives=4, negatives=negatives, corrects_popularity=True)
    logit_M = torch.linspace(-1.0, 1.0, M)
    draw = torch.Generator().manual_seed(0)
    asked = asking(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1))
    sums = []
    for _ in range(4000):
        drawn = draw_negatives(asked, config=config, share_M=SHARES, draw=draw)
        expected = log_expected(drawn, config=config, share_M=SHARES)
        sums.append(float((logit_M[drawn] - expected).exp().sum()))

    mean = sum(sums) / len(sums)
    spread = torch.tensor(sums).std().item() / math.sqrt(len(sums))
    assert abs(mean - float(logit_M.exp().sum())) < 5 * spread


def test_what_a_position_is_asked_for_is_no_negative_of_it() -> None:
    target_RK, weight_RK = torch.tensor([[3, 5], [5, 5]]), torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    negative_N = torch.tensor([2, 3, 5])

    left = without_targets(torch.zeros(2, 3), negative_N, asking(target_RK, weight_RK))

    assert left.isinf().tolist() == [[False, True, True], [False, False, True]]


def test_negatives_of_a_batch_are_targets_of_it() -> None:
    target_RK, weight_RK = torch.tensor([[3, 9], [5, 0]]), torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    drawn = draw_negatives(
        asking(target_RK, weight_RK),
        config=replace(CONFIG, negatives="batch"),
        share_M=SHARES,
        draw=torch.Generator().manual_seed(0),
    )

    assert drawn.tolist() == [3, 5, 9]


def test_gbce_without_calibration_is_the_binary_loss() -> None:
    user_RS, item_MS, target_RK, weight_RK = case()
    logit_RM = user_RS @ item_MS.T
    is_target_RM = F.one_hot(target_RK[:, 0], M).bool()
    binary_RM = torch.where(is_target_RM, F.softplus(-logit_RM), F.softplus(logit_RM))

    found = loss(replace(ALL, kind="gbce", calibration=0.0))

    torch.testing.assert_close(found, (binary_RM.sum(dim=1) * weight_RK[:, 0]).sum())
    # of a sample, the calibrated likelihood of the target counts less: beta is below 1
    few = LossConfig(kind="gbce", num_negatives=2, calibration=1.0)
    assert loss(few) < loss(replace(few, calibration=0.0))


def test_gbce_of_a_single_item_is_that_of_its_target() -> None:
    user_RS, item_MS, target_RK, weight_RK = case()
    alone = Asked(user_RS, item_MS[:1], torch.zeros_like(target_RK), weight_RK)
    config = LossConfig(kind="gbce", calibration=0.0)

    found = sampled_loss(alone, config=config, share_M=SHARES[:1], draw=torch.Generator())

    binary_R = F.softplus(-(user_RS @ item_MS[0]))
    torch.testing.assert_close(found, (binary_R * weight_RK[:, 0]).sum())


def test_a_loss_is_a_function_of_its_draw() -> None:
    few = replace(CONFIG, num_negatives=3)

    assert torch.equal(loss(few, seed=1), loss(few, seed=1))
    assert not torch.equal(loss(few, seed=1), loss(few, seed=2))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda: LossConfig(kind="half"), "kind: want one of"),
        (lambda: LossConfig(negatives="all"), "negatives: want one of"),
        (lambda: LossConfig(num_negatives=0), "want at least 1"),
        (lambda: LossConfig(calibration=2.0), "want in"),
        (lambda: LossConfig(kind="gbce", corrects_popularity=True), "calibration of its own"),
    ],
)
def test_a_loss_that_makes_no_sense_is_refused(wrong: Callable[[], LossConfig], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        wrong()


@pytest.mark.parametrize("negatives", ["uniform", "popularity", "batch"])
def test_windows_that_ask_for_nothing_lose_nothing(negatives: str) -> None:
    user_RS, item_MS, target_RK, weight_RK = case()
    nobody = Asked(user_RS[:0], item_MS, target_RK[:0], weight_RK[:0])
    config = replace(CONFIG, negatives=negatives)

    found = sampled_loss(nobody, config=config, share_M=SHARES, draw=torch.Generator())

    assert found.item() == 0.0
    found.backward()
