"""From windows without padding to rows for attention, and back.

Windows lie one after another, short ones first; attention takes a few of similar length at a time::

    flat      a a b b b c c c c c                x_PD
    groups    | a a . |    | c c c c c |         x_BLD: the dot is padding, always at the end
              | b b b |

Causal attention never looks at what comes later, so nothing real looks at padding and no mask is
needed. Everything but attention works on the flat form, where there is none.
Shape suffixes: P positions, B windows of a group, L positions of its longest, D width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from training.contracts import Int64

_LONGEST_TO_SHORTEST = 1.25
_ALWAYS_TOGETHER = 8
"""Windows that differ by so few positions share a group: less padding would be more calls."""


@dataclass(frozen=True, slots=True)
class Group:
    """Windows of similar length; legend: S positions of the group."""

    place_BL: Tensor
    """int64: position within the group, 0 on padding."""
    real_S: Tensor
    """int64: where each position lies in the flattened rows."""

    @property
    def lengths(self) -> Tensor:
        """Return the positions of each window, int64."""
        B, L = self.place_BL.shape
        return torch.bincount(self.real_S // L, minlength=B)

    @property
    def is_full(self) -> bool:
        """Whether there is no padding: the flat form is that of rows then, and nothing moves."""
        return len(self.real_S) == self.place_BL.numel()

    def rows(self, x_SD: Tensor) -> Tensor:
        """Return ``[B, L, D]``; padding holds the group's first position."""
        B, L = self.place_BL.shape
        if self.is_full:
            return x_SD.view(B, L, -1)
        rows: Tensor = _ToRows.apply(x_SD, self.place_BL.flatten(), self.real_S)  # type: ignore[no-untyped-call]
        return rows.view(B, L, -1)

    def flat(self, x_BLD: Tensor) -> Tensor:
        """Return ``[S, D]`` of rows, without their padding."""
        if self.is_full:
            return x_BLD.flatten(0, 1)
        flat: Tensor = _ToFlat.apply(x_BLD.flatten(0, 1), self.real_S)  # type: ignore[no-untyped-call]
        return flat


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the windows of a batch lie."""

    position_P: Tensor
    """int64: position within the window."""
    groups: tuple[Group, ...]

    @property
    def lasts(self) -> Tensor:
        """Return the last position of each window, int64."""
        return torch.cat([group.lengths for group in self.groups]).cumsum(0) - 1

    def in_groups(
        self, x_PD: Tensor, work: Callable[..., Tensor], *beside: Sequence[Any]
    ) -> Tensor:
        """Return what ``work`` makes of each group's ``[S, D]``, one behind the other.

        ``work`` gets the part, its group, and the group's entry of each of ``beside``.
        """
        # split, not sliced: the gradient of a slice is as large as what it was cut from
        parts = torch.split(x_PD, [len(group.real_S) for group in self.groups])
        return torch.cat(
            [work(part, *given) for part, *given in zip(parts, self.groups, *beside, strict=True)]
        )

    @classmethod
    def of(cls, lengths_W: Int64, *, together: float = _LONGEST_TO_SHORTEST) -> "Layout":
        """Return the layout of windows of ascending lengths.

        ``together``: how many times the shortest window of a group its longest may be; infinity
        makes one group of all, which is the padded form.
        """
        starts = np.cumsum(lengths_W) - lengths_W
        position_P = np.arange(lengths_W.sum()) - np.repeat(starts, lengths_W)
        groups, first = [], 0
        while first < len(lengths_W):
            shortest = lengths_W[first]
            limit = max(shortest * together, shortest + _ALWAYS_TOGETHER)
            stop = int(np.searchsorted(lengths_W, limit, side="right"))
            groups.append(_group(lengths_W[first:stop]))
            first = stop
        return cls(torch.from_numpy(position_P), tuple(groups))


def _group(lengths_B: Int64) -> Group:
    is_real = np.arange(lengths_B[-1]) < lengths_B[:, None]
    num_positions = int(lengths_B.sum())
    place = np.zeros(is_real.shape, dtype=np.int64)
    place[is_real] = np.arange(num_positions)
    real = np.flatnonzero(is_real)
    return Group(torch.from_numpy(place), torch.from_numpy(real))


# A permutation read backwards is a gather again: many times quicker than autograd's scatter, which
# has to add because it cannot know that no position is named twice.
class _ToRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_SD: Tensor, place_R: Tensor, real_S: Tensor) -> Tensor:
        ctx.save_for_backward(real_S)
        return x_SD.index_select(0, place_R)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_RD: Tensor) -> tuple[Tensor | None, ...]:
        (real_S,) = ctx.saved_tensors
        return grad_RD.index_select(0, real_S), None, None


class _ToFlat(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_RD: Tensor, real_S: Tensor) -> Tensor:
        ctx.save_for_backward(real_S)
        ctx.num_rows = len(x_RD)
        return x_RD.index_select(0, real_S)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_SD: Tensor) -> tuple[Tensor | None, ...]:
        (real_S,) = ctx.saved_tensors
        grad_RD = grad_SD.new_zeros(ctx.num_rows, grad_SD.shape[1])
        return grad_RD.index_copy_(0, real_S, grad_SD), None
