"""Weights of which each process keeps a share: fully sharded data parallelism, torch's FSDP2.

Every weight is cut along its first dimension, as ``torch.chunk`` does. Blocks and the item encoder
are put together when they are needed and let go after it, the rest stays for a forward and its
backward::

    kept         rows of each weight, its gradient, its two moments, average, best
    for a while  a block, or all item rows, whole; the gradient of it, until it is shared out

Numbers without a dimension, such as the bias of unknown items, stay on all processes.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

from training.errors import ConfigError
from training.model.recommender import Recommender
from training.processes import Processes
from training.shards import SharedOut
from training.weights import LossOf, Weights, Whole

Made = TypeVar("Made")


def weights_of(network: Recommender, processes: Processes, *, num_threads: int) -> Weights:
    """Return the weights to learn, whole or sharded as the processes are told to keep them.

    Raises ConfigError where sharded weights would be read by several threads of a process.
    """
    if not processes.is_sharded:
        return Whole(network, processes, num_threads=num_threads)
    if num_threads != 1:
        raise ConfigError(
            f"sharded weights want {num_threads=} to be 1, and more processes: "
            "they are put together and let go on one thread"
        )
    return Sharded(network, processes)


class _Root(nn.Module):
    """Whatever is computed with a network, as one forward: weights are there within it alone."""

    def __init__(self, network: Recommender) -> None:
        super().__init__()
        self.network = network

    def forward(self, work: Callable[[], Made]) -> Made:
        return work()


class Sharded:
    """Some rows of every weight on each process."""

    def __init__(self, network: Recommender, processes: Processes) -> None:
        """Take the weights from ``network``, which is empty until they are given back."""
        self.processes = processes
        self.network = copy.deepcopy(network)
        self._given = network
        scalars = {weight for weight in self.network.parameters() if weight.ndim == 0}
        self._root = _shard(self.network, scalars)
        self.named = {name: _kept(weight) for name, weight in self.network.named_parameters()}
        for weight in network.parameters():
            weight.data = weight.new_empty(0)

    def add_gradients(self, loss_of: LossOf, parts: Sequence[int], each: SharedOut) -> float:
        """Take one part after another, as often as the process that has most of them.

        Putting weights together and sharing gradients out needs all processes: who has no part
        left takes the first one of all, and counts it zero.
        """
        del each  # one thread, see ``weights_of``
        self._root.zero_grad()
        total = 0.0
        for turn in range(round(self.processes.most(len(parts)))):
            part, share = (parts[turn], 1.0) if turn < len(parts) else (0, 0.0)
            loss = share * self._root(lambda part=part: loss_of(part))
            loss.backward()
            total += loss.item()
        for own, summed in zip(self.named.values(), self.network.parameters(), strict=True):
            gradient: Any = summed.grad
            summed.grad = None  # or it would stay beside the one of ``own``
            if own.ndim == 0:
                alone = torch.zeros_like(own) if gradient is None else gradient
                (own.grad,) = self.processes.add([alone])
            else:
                own.grad = gradient.to_local()
        return total

    def clip(self, norm: float) -> float:
        """Clip by the norm of all rows of all processes."""
        gradients = [weight.grad for weight in self.named.values() if weight.grad is not None]
        # a number that all processes have is of the first one
        counted = [one for one in gradients if one.ndim or self.processes.is_first]
        norms = [torch.linalg.vector_norm(one, dtype=torch.float64) for one in counted]
        own = sum(float(one.square()) for one in norms)
        before = math.sqrt(self.processes.total(own)[0])
        # torch's own: the millionth keeps a norm of zero from being divided by
        scale = min(1.0, norm / (before + 1e-6))
        for gradient in gradients:
            gradient.mul_(scale)
        return before

    def read(self, work: Callable[[], Made]) -> Made:
        """Put together all weights for it, and let them go."""
        with torch.no_grad():
            made: Made = self._root(work)
        # nothing of it may be left: the weights move before they are read again
        self._root.reshard()
        return made

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Put tensors together one by one; only the first process keeps them."""
        kept = {}
        # by name: what was read of a checkpoint is in another order on every process
        for name in sorted(tensors):
            joined = self._joined(tensors[name])
            if self.processes.is_first:
                kept[name] = joined
        return kept

    def own(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Cut tensors as the weights are cut."""
        return {name: self._cut(tensor) for name, tensor in tensors.items()}

    def give_back(self) -> None:
        """Put all weights together, on every process."""
        given = dict(self._given.named_parameters())
        for name, own in self.named.items():
            given[name].data = self._joined(own.detach())

    def _cut(self, whole: Tensor) -> Tensor:
        if whole.ndim == 0:
            return whole
        rows = -(-len(whole) // self.processes.count)
        return whole[rows * self.processes.rank :][:rows]

    def _joined(self, own: Tensor) -> Tensor:
        """Return all rows of a tensor that is cut as the weights are."""
        if own.ndim == 0:
            return own
        num_rows = round(self.processes.total(len(own))[0])
        # messages are of one length: the last processes may have fewer rows, or none
        padded = own.new_zeros(-(-num_rows // self.processes.count), *own.shape[1:])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in range(self.processes.count)]
        dist.all_gather(parts, padded)
        return torch.cat(parts)[:num_rows]


def _shard(network: Recommender, scalars: set[nn.Parameter]) -> Any:
    """Cut the weights of ``network``; return the root of what reads them."""
    # here, not above: it takes a second, and few runs are sharded
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    root = _Root(network)
    for module in (*network.backbone.blocks, network.items, root):
        fully_shard(module, mesh=mesh, ignored_params=scalars)
    for block in network.backbone.blocks:
        # the other way to ask a block, which torch would not put weights together for
        register_fsdp_forward_method(block, "at_the_ends")
    for module in root.modules():
        if isinstance(module, FSDPModule):
            # sums, not means: the loop divides by the weight of all targets
            module.set_force_sum_reduction_for_comms(True)
            module.set_gradient_divide_factor(1.0)
            # a weight that a loss does not reach has a gradient of zero, as on one process
            module.set_reduce_scatter_unused_params(True, recurse=False)
    return root


def _kept(weight: nn.Parameter) -> nn.Parameter:
    """Return this process's rows of a weight, in the memory that it has them in."""
    if weight.ndim == 0:
        return weight
    cut: Any = weight.detach()  # a DTensor, which the stubs do not know of
    return nn.Parameter(cut.to_local())
