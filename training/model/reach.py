"""Rows cut into chunks, so that attention to the newest positions costs no square of the length.

A row of L positions is C chunks of Q queries, which meet M keys each. Dense attention has one chunk
of all positions. With a window of W, a chunk of W queries meets the G first positions and those of
two chunks, its own and the one before, among which the W newest of each query are::

    W = 3, G = 1    queries 6 7 8    keys 0 | 3 4 5 6 7 8

Shape suffixes: B rows, H heads, K width. Sources: a sliding window with global positions
(Longformer, arXiv:2004.05150, sec. 3.1); the first positions keep a stream's attention from losing
its hold (arXiv:2309.17453, sec. 3).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Reach:
    """How a row's positions meet."""

    length: int
    """Positions of a row (L)."""
    window: int
    """Newest positions that each one sees, itself included (W); 0 = all, in one chunk."""
    num_global: int
    """First positions that all see (G)."""

    @classmethod
    def of(cls, length: int, *, window: int, num_global: int) -> "Reach":
        """Return the reach of rows; dense where they are so short that each sees all before."""
        is_dense = window == 0 or length <= window + num_global
        return cls(length, 0 if is_dense else window, num_global)

    @property
    def num_chunks(self) -> int:
        """C."""
        return -(-self.length // self.window) if self.window else 1

    def queries(self, x_BHLK: Tensor) -> Tensor:
        """Return ``[B, H, C, Q, K]``."""
        if not self.window:
            return x_BHLK[:, :, None]
        B, H, L, K = x_BHLK.shape
        padded = F.pad(x_BHLK, (0, 0, 0, self.num_chunks * self.window - L))
        return padded.view(B, H, self.num_chunks, self.window, K)

    def keys(self, x_BHLK: Tensor) -> Tensor:
        """Return ``[B, H, C, M, K]``; before the first chunk there are zeros, never seen."""
        if not self.window:
            return x_BHLK[:, :, None]
        chunks = F.pad(self.queries(x_BHLK), (0, 0, 0, 0, 1, 0))
        first = x_BHLK[:, :, None, : self.num_global].expand(-1, -1, self.num_chunks, -1, -1)
        return torch.cat([first, chunks[:, :, :-1], chunks[:, :, 1:]], dim=3)

    def rows(self, x_BHCQK: Tensor) -> Tensor:
        """Return ``[B, H, L, K]`` of what each query got."""
        return x_BHCQK.flatten(2, 3)[:, :, : self.length]

    def distance(self, device: torch.device) -> Tensor:
        """Return the positions between query and key, int64 ``[C, Q, M]``, -1 where not seen."""
        if not self.window:
            at_L = torch.arange(self.length, device=device)
            return (at_L[:, None] - at_L)[None].clamp(min=-1)
        start_C11 = torch.arange(self.num_chunks, device=device)[:, None, None] * self.window
        query_CQ1 = start_C11 + torch.arange(self.window, device=device)[:, None]
        near_C1M = start_C11 + torch.arange(-self.window, self.window, device=device)
        near_CQM = query_CQ1 - near_C1M
        is_near = (near_CQM >= 0) & (near_CQM < self.window) & (near_C1M >= 0)
        first_CQM = query_CQ1 - torch.arange(self.num_global, device=device)
        # a first position within the window is met there, and only there
        is_first = first_CQM >= self.window
        distance_CQM = torch.cat([first_CQM, near_CQM], dim=2)
        # a query that pads the last chunk lies beyond all distances that a row has
        distance_CQM = distance_CQM.clamp(max=self.length - 1)
        return distance_CQM.where(torch.cat([is_first, is_near], dim=2), -1)
