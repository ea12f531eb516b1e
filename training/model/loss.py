"""Cross-entropy over the whole catalogue without ever holding all logits.

Legend: R positions, C positions of one chunk, K targets of a position, M items, S vector width.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Loss and gradients in one pass: each chunk's logits are made once and thrown away."""

    @staticmethod
    def forward(
        ctx: Any, user_RS: Tensor, item_MS: Tensor, target_RK: Tensor, weight_RK: Tensor, chunk: int
    ) -> Tensor:
        loss = user_RS.new_zeros(())
        grad_user_RS = torch.empty_like(user_RS)
        grad_item_MS = torch.zeros_like(item_MS)
        # one buffer for all chunks: fresh memory for each would cost more than the arithmetic
        buffer = user_RS.new_empty(min(chunk, len(user_RS)), len(item_MS))
        for start in range(0, len(user_RS), chunk):
            part = slice(start, start + chunk)
            user_CS, target_CK, weight_CK = user_RS[part], target_RK[part], weight_RK[part]
            logit_CM = torch.mm(user_CS, item_MS.T, out=buffer[: len(user_CS)])
            hit_CK = logit_CM.gather(1, target_CK)
            most_C1 = logit_CM.amax(dim=1, keepdim=True)
            odds_CM = logit_CM.sub_(most_C1).exp_()  # in place: the logits are gone from here on
            sum_C1 = odds_CM.sum(dim=1, keepdim=True)
            loss += ((sum_C1.log() + most_C1 - hit_CK) * weight_CK).sum()
            # d loss / d logit = weight * (odds / sum - one-hot), applied to the narrow side
            scale_C1 = weight_CK.sum(dim=1, keepdim=True) / sum_C1
            grad_user_RS[part] = torch.mm(odds_CM, item_MS).mul_(scale_C1)
            grad_item_MS.addmm_(odds_CM.T, user_CS * scale_C1)
            for target_C, weight_C in zip(target_CK.unbind(1), weight_CK.unbind(1), strict=True):
                grad_user_RS[part].addcmul_(item_MS[target_C], weight_C[:, None], value=-1.0)
                grad_item_MS.index_add_(0, target_C, user_CS * weight_C[:, None], alpha=-1.0)
        ctx.save_for_backward(grad_user_RS, grad_item_MS)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_user_RS, grad_item_MS = ctx.saved_tensors
        return grad_user_RS * grad, grad_item_MS * grad, None, None, None


def cross_entropy(
    user_RS: Tensor, item_MS: Tensor, target_RK: Tensor, weight_RK: Tensor, *, chunk: int
) -> Tensor:
    """Return the weighted sum of ``-log softmax(user . item)[target]`` over all items.

    A position's targets share its logits, so more of them cost next to nothing. At most
    ``chunk * M`` logits exist at a time; the value does not depend on ``chunk`` but for rounding.
    Gradients reach ``user_RS`` and ``item_MS``.
    """
    total: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        user_RS, item_MS, target_RK, weight_RK, chunk
    )
    return total
