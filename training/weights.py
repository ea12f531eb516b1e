"""A network's weights as one process keeps them, and how the gradient of a step comes to them.

::

    Whole      every process has all weights; gradients are added, and all take the same step
    Sharded    every process has some rows of each weight, of its gradient and its moments

Whatever moves or keeps weights works on ``named``, plain tensors in both; what is whole again, for
a checkpoint or a model, is the same in both.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from training.model.recommender import Recommender
from training.processes import Processes
from training.shards import SharedOut

Made = TypeVar("Made")
LossOf = Callable[[int], Tensor]
"""The loss of one part of a step."""


class Weights(Protocol):
    """What a run learns."""

    @property
    def processes(self) -> Processes:
        """Return those that learn together."""
        ...

    @property
    def network(self) -> Recommender:
        """Return what a loss is computed with."""
        ...

    @property
    def named(self) -> Mapping[str, nn.Parameter]:
        """Return what this process keeps of each weight; moved in place, the network follows."""
        ...

    def add_gradients(self, loss_of: LossOf, parts: Sequence[int], each: SharedOut) -> float:
        """Leave the gradient of the sum of all processes' losses on ``named``.

        Returns the sum of the losses of ``parts``, which are this process's.
        """
        ...

    def clip(self, norm: float) -> float:
        """Scale the gradients down to ``norm``, all together; return what it was before."""
        ...

    def read(self, work: Callable[[], Made]) -> Made:
        """Return what ``work`` makes of the network, without a gradient; on all processes."""
        ...

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors shaped as ``named`` is, or scalars, as the first process is to write them.

        All processes call it together; the others may get fewer or none.
        """
        ...

    def own(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what this process keeps of whole tensors."""
        ...

    def give_back(self) -> None:
        """Leave the whole weights on the network that was given to learn, on all processes."""
        ...


class Whole:
    """All weights on every process."""

    def __init__(self, network: Recommender, processes: Processes, *, num_threads: int) -> None:
        """Learn in place, on so many threads of each process."""
        self.network, self.processes, self._num_threads = network, processes, num_threads
        self.named = dict(network.named_parameters())

    def add_gradients(self, loss_of: LossOf, parts: Sequence[int], each: SharedOut) -> float:
        """Take as many parts at a time as there are threads, and add in their order."""
        weights = list(self.named.values())

        def of_part(part: int) -> tuple[float, tuple[Tensor, ...]]:
            loss = loss_of(part)
            return loss.item(), torch.autograd.grad(
                loss, weights, materialize_grads=True, allow_unused=True
            )

        total, sums = 0.0, [torch.zeros_like(weight) for weight in weights]
        for first in range(0, len(parts), self._num_threads):
            for loss, gradients in each(of_part, parts[first : first + self._num_threads]):
                total += loss
                sums = [torch.add(a, b) for a, b in zip(sums, gradients, strict=True)]
        for weight, gradient in zip(weights, self.processes.add(sums), strict=True):
            weight.grad = gradient
        return total

    def clip(self, norm: float) -> float:
        """Clip as torch does."""
        return float(torch.nn.utils.clip_grad_norm_(self.named.values(), norm))

    def read(self, work: Callable[[], Made]) -> Made:
        """Just do it."""
        with torch.no_grad():
            return work()

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return them as they are."""
        return dict(tensors)

    def own(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return them as they are."""
        return dict(tensors)

    def give_back(self) -> None:
        """They never left."""
