"""The processes that train one model together, as torchrun or Ray Train started them.

A step's windows are shared out to all threads of all processes; the gradients are added, and every
process takes the same step. Two processes of one thread compute what one of two threads does.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch import distributed as dist

from training.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """One process among those that train a model."""

    rank: int
    count: int
    is_sharded: bool = False
    """Whether each keeps a share of the weights (``training/sharded.py``), or all of them."""

    def __post_init__(self) -> None:
        """Refuse shares of one."""
        if self.is_sharded and self.count == 1:
            raise ConfigError(
                "sharded weights want several processes, got one: start them with "
                "torchrun --nproc-per-node N -m training ..."
            )

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

    def most(self, value: float) -> float:
        """Return the largest of a number over all processes, which call this together."""
        largest = torch.tensor(value, dtype=torch.float64)
        if self.count > 1:
            dist.all_reduce(largest, dist.ReduceOp.MAX)
        return float(largest)

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
def joined(*, is_sharded: bool = False) -> Iterator[Processes]:
    """Yield this process among those that torchrun started with it, ALONE without one.

    A group that is there already, such as Ray Train's, is the one to use. Raises ConfigError where
    one process is to share its weights with nobody.
    """
    if dist.is_initialized():
        yield _of_group(is_sharded=is_sharded)
        return
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield replace(ALONE, is_sharded=is_sharded)
        return
    dist.init_process_group("gloo")
    try:
        yield _of_group(is_sharded=is_sharded)
    finally:
        dist.destroy_process_group()


def _of_group(*, is_sharded: bool) -> Processes:
    return Processes(rank=dist.get_rank(), count=dist.get_world_size(), is_sharded=is_sharded)
