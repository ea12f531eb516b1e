"""How well a run uses its machine: operations a second against what matrices alone would reach.

Legend: L length of a window, D model width, F width inside the feed-forward part, M items, S width
of the published vectors.
"""

import functools
import resource
import sys
import time

import torch

from training.config.model import ModelConfig
from training.contracts import Int64

_MIB = 2**20
_SIDE = 512
"""Of the square matrices whose product is timed: they fit into a core's cache."""


def model_flops(model: ModelConfig, lengths: Int64, *, num_asked: int, num_items: int) -> float:
    """Return the floating-point operations of learning windows of such lengths once.

    A multiplication and an addition are two; the backward pass is twice the forward one (Chowdhery
    et al. 2022, arXiv:2204.02311, appendix B). Counted are the blocks' matrices, what positions say
    to those after them, and the logits of ``num_asked`` positions over ``num_items``; not the
    inputs, and not an item tower, which depends on the catalogue alone.
    """
    width, hidden = model.model_dim, model.hidden_dim
    if model.block == "hstu":
        of_matrices = 5 * width * width
    else:
        is_gated = model.block == "transformer" and model.feed_forward == "gated"
        of_feed_forward = (3 if is_gated else 2) * width * hidden
        of_matrices = 4 * width * width + of_feed_forward
    of_pairs = width * float((lengths * (lengths + 1)).sum())  # scores and sums, half of L squared
    forward = model.num_layers * (of_matrices * float(lengths.sum()) + of_pairs)
    forward += float(num_asked) * num_items * model.published_dim
    return 3 * 2 * forward


@functools.cache
def matmul_flops_per_s(num_threads: int) -> float:
    """Return the float32 operations a second of this machine's matrix product, the best of eight.

    Takes about a tenth of a second, once for a process.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        one, other = torch.ones(_SIDE, _SIDE), torch.ones(_SIDE, _SIDE)
        times = []
        for _ in range(9):
            started = time.perf_counter()
            torch.mm(one, other)
            times.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(before)
    return 2.0 * _SIDE**3 / min(times[1:])  # the first one also makes the threads


def peak_memory_mib() -> float:
    """Return the most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MIB if sys.platform == "darwin" else peak / 1024
