"""Work by user bucket: one function, mapped over the buckets by whatever there is to map it.

The functions write their own file each and depend on nothing but their bucket's number, so who
maps them, and in which order, changes no byte.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

Result = TypeVar("Result")


class BucketMap(Protocol):
    """Calls a function with the number of every bucket."""

    def __call__(self, function: Callable[[int], Result], num_buckets: int, /) -> list[Result]:
        """Return what it returned for each bucket, in their order; raises what it raised."""
        ...


def one_by_one(function: Callable[[int], Result], num_buckets: int, /) -> list[Result]:
    """Map in this thread: as much memory as one bucket takes."""
    return [function(bucket) for bucket in range(num_buckets)]


def in_threads(num_threads: int) -> BucketMap:
    """Return a map over threads: arrays, files and compression let go of the interpreter."""

    def mapped(function: Callable[[int], Result], num_buckets: int, /) -> list[Result]:
        with ThreadPoolExecutor(num_threads) as threads:
            return list(threads.map(function, range(num_buckets)))

    return mapped
