"""The processes that train one model together, as torchrun or Ray Train started them.

A step's windows are shared out to all threads of all processes; the gradients are added, and every
process takes the same step. Two processes of one thread compute what one of two threads does.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """One process among those that train a model."""

    rank: int
    count: int

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and reports."""
        return self.rank == 0

    def total(self, *values: float) -> list[float]:
        """Return the sums of numbers over all processes, which call this together."""
        if self.count == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(summed)
        return [float(value) for value in summed]

    def add(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums of gradients over all processes, in one message."""
        if self.count == 1:
            return list(gradients)
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        return [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]


ALONE = Processes(rank=0, count=1)


@contextmanager
def joined() -> Iterator[Processes]:
    """Yield this process among those that torchrun started with it, ALONE without one.

    A group that is there already, such as Ray Train's, is the one to use.
    """
    if dist.is_initialized():
        yield Processes(rank=dist.get_rank(), count=dist.get_world_size())
        return
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    dist.init_process_group("gloo")
    try:
        yield Processes(rank=dist.get_rank(), count=dist.get_world_size())
    finally:
        dist.destroy_process_group()
