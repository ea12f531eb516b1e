"""One step's windows shared out to threads, each with a gradient of its own.

torch's own threads split every operation; most of a small model's are too small for that. Here each
thread takes whole windows through the model, forward and backward, and the gradients are added in
the order of the shards: what comes out depends on their number, never on who was faster.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

import numpy as np
import torch

from training.contracts import Int64

Given = TypeVar("Given")
Made = TypeVar("Made")


class SharedOut(Protocol):
    """A map whose results come in the order of what was given."""

    def __call__(self, work: Callable[[Given], Made], given: Sequence[Given]) -> list[Made]:
        """Return what ``work`` makes of each."""
        ...


@contextmanager
def threads(count: int) -> Iterator[SharedOut]:
    """Yield a map over ``count`` threads, each of which computes alone."""
    before = torch.get_num_threads()
    # also of this thread: torch's own would wait in a loop, on the processors that the others need
    torch.set_num_threads(1)
    try:
        if count == 1:
            yield lambda work, given: [work(one) for one in given]
            return
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield lambda work, given: list(pool.map(work, given))
    finally:
        torch.set_num_threads(before)


def shares(chosen: Int64, lengths: Int64, *, count: int) -> list[Int64]:
    """Return ``chosen`` in at most ``count`` parts of about the same work, none empty."""
    by_length = chosen[np.argsort(-lengths[chosen], kind="stable")]
    # dealt out back and forth, so that no part gets the longer one of every pair
    place = np.arange(len(chosen)) % (2 * count)
    of = np.where(place < count, place, 2 * count - 1 - place)
    parts = [by_length[of == part] for part in range(count)]
    return [part for part in parts if len(part)]


def generator(*key: int) -> torch.Generator:
    """Return a generator that is a function of ``key``, such as (seed, step, shard)."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
