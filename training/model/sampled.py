"""Losses over a sample of the catalogue, for where the whole of it is too much.

One sample is shared by all positions of a share of a step::

    negatives     n1 n2 ... nN       uniform, by popularity, or the targets of the share
    position      t | n1 .. nN       its target against them, but for those that it is asked for

With the correction (Bengio & Senécal 2008) a negative counts by how rarely it is drawn, so that
their sum estimates that of the whole catalogue; the target's own logit stays as it is
(arXiv:2507.09331, sec. 3). gBCE is Petrov & Macdonald 2023 (arXiv:2308.07192, sec. 5).
Legend: R positions, K targets of a position, N negatives, M items, S vector width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from training.config.loss import LossConfig


@dataclass(frozen=True, slots=True)
class Asked:
    """Positions and what each of them is asked for."""

    user_RS: Tensor
    item_MS: Tensor
    """Of the whole catalogue."""
    target_RK: Tensor
    """int64: rows of ``item_MS``."""
    weight_RK: Tensor
    """float32: 0 = not asked."""


def sampled_loss(
    asked: Asked, *, config: LossConfig, share_M: Tensor, draw: torch.Generator
) -> Tensor:
    """Return the weighted sum of the losses of all targets against a sample of the items.

    ``share_M`` is each item's share of all targets, above 0. Gradients reach users and items.
    """
    user_RS, item_MS = asked.user_RS, asked.item_MS
    if not len(user_RS):  # windows slid over a part without a target have nothing to draw from
        return user_RS.sum()
    negative_N = draw_negatives(asked, config=config, share_M=share_M, draw=draw)
    logit_RN = user_RS @ item_MS[negative_N].T
    if config.corrects_popularity:
        logit_RN = logit_RN - log_expected(negative_N, config=config, share_M=share_M)
    logit_RN = without_targets(logit_RN, negative_N, asked)
    hit_RK = torch.einsum("rs,rks->rk", user_RS, item_MS[asked.target_RK])
    if config.kind == "gbce":
        loss_RK = _gbce(
            hit_RK, logit_RN, share=len(negative_N) / max(len(item_MS) - 1, 1), config=config
        )
    else:
        others_R1 = logit_RN.logsumexp(dim=1, keepdim=True)
        loss_RK = F.softplus(others_R1 - hit_RK)  # -log of exp(hit) / (exp(hit) + exp(others))
    return (loss_RK * asked.weight_RK).sum()


def draw_negatives(
    asked: Asked, *, config: LossConfig, share_M: Tensor, draw: torch.Generator
) -> Tensor:
    """Return distinct items, int64[N]: at most ``config.num_negatives``, each draw counts once."""
    num_items = len(share_M)
    if config.negatives == "uniform":
        drawn = torch.randint(num_items, (config.num_negatives,), generator=draw)
    elif config.negatives == "popularity":
        drawn = share_M.multinomial(config.num_negatives, replacement=True, generator=draw)
    else:
        targets = asked.target_RK[asked.weight_RK > 0]
        drawn = targets[torch.randint(len(targets), (config.num_negatives,), generator=draw)]
    distinct: Tensor = drawn.unique()  # type: ignore[no-untyped-call]
    return distinct


def log_expected(negative_N: Tensor, *, config: LossConfig, share_M: Tensor) -> Tensor:
    """Return the logarithm of how often each is drawn, at most once each, float32[N]."""
    uniform = torch.full_like(share_M, 1.0 / len(share_M))
    q_N = (uniform if config.negatives == "uniform" else share_M)[negative_N].double()
    return torch.log(-torch.expm1(config.num_negatives * torch.log1p(-q_N))).float()


def without_targets(logit_RN: Tensor, negative_N: Tensor, asked: Asked) -> Tensor:
    """Return the logits with minus infinity where a position is asked for that very item."""
    place_M = torch.full((len(asked.item_MS),), -1, dtype=torch.int64)
    place_M[negative_N] = torch.arange(len(negative_N))
    place_RK = place_M[asked.target_RK]
    row_H, column_H = ((place_RK >= 0) & (asked.weight_RK > 0)).nonzero().unbind(1)
    is_target_RN = torch.zeros_like(logit_RN, dtype=torch.bool)
    is_target_RN[row_H, place_RK[row_H, column_H]] = True
    return logit_RN.masked_fill(is_target_RN, -torch.inf)


def _gbce(hit_RK: Tensor, logit_RN: Tensor, *, share: float, config: LossConfig) -> Tensor:
    """Return the binary losses with the target's likelihood raised to beta, ``[R, K]``."""
    beta = share * (config.calibration * (1.0 - 1.0 / share) + 1.0 / share)
    others_R1 = F.softplus(logit_RN).sum(dim=1, keepdim=True)
    return others_R1 - beta * F.logsigmoid(hit_RK)
