"""Buckets mapped by Ray, on this machine or on a cluster.

Ray carries the function to its workers and runs a bucket again whose worker died; every function
writes its file whole or not at all, so a second attempt changes no byte. Workers open the paths
that they are given: on a cluster they need the lake's folder at the same place, as a shared file
system gives it, and the project in their environment.
"""

import itertools
import os
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from training.buckets import BucketMap
from training.errors import EngineError

Result = TypeVar("Result")


def on_ray(address: str | None = None, *, num_cpus: int | None = None) -> BucketMap:
    """Return a map over Ray's workers, one processor to a bucket.

    Args:
        address: of a cluster, as Ray has it (``ray://host:10001``, ``auto``). Without one, workers
            are started on this machine when the first bucket is mapped; they listen on the
            loopback address alone and go with this process.
        num_cpus: workers on this machine; as many as it has processors by default.
    """

    def mapped(function: Callable[[int], Result], num_buckets: int, /) -> list[Result]:
        import ray

        if not ray.is_initialized():
            start(ray, address, num_cpus)
        task: Any = ray.remote(function_of_bucket)
        shared = ray.put(function)  # sent once to each machine, not with every bucket
        waiting, running, done = iter(range(num_buckets)), dict[Any, int](), dict[int, Result]()
        try:
            while len(done) < num_buckets:
                for bucket in itertools.islice(waiting, _room(ray, running)):
                    running[task.remote(shared, bucket)] = bucket
                (ended, *_), _ = ray.wait(list(running), num_returns=1)
                done[running[ended]] = ray.get(ended)
                del running[ended]
        except ray.exceptions.RayTaskError as error:
            _let_end(ray, running)
            raise error.cause from error  # what the function raised, as other maps raise it
        except ray.exceptions.RayError as error:
            _let_end(ray, running)
            raise EngineError(f"ray: {error}: look at the workers, and run again") from error
        return [done[bucket] for bucket in range(num_buckets)]

    return mapped


def function_of_bucket(function: Callable[[int], Result], bucket: int) -> Result:
    """Call a function in a worker."""
    return function(bucket)


def _room(ray: Any, running: Collection[object]) -> int:
    """Return how many more buckets to submit: so many that no worker waits, and few are left over.

    What is not submitted need not be cancelled: ray 2.60 ends the process in which it cancels a
    task that is just done ("Tried to complete task that was not pending").
    """
    num_workers = int(ray.cluster_resources().get("CPU", 1))
    return max(0, 2 * max(1, num_workers) - len(running))


def _let_end(ray: Any, running: Collection[object]) -> None:
    """Wait until no worker writes any more: the folder that they write into is removed next."""
    if running:
        ray.wait(list(running), num_returns=len(running))


def start(ray: Any, address: str | None, num_cpus: int | None) -> None:
    """Join the cluster at ``address``, or start workers on this machine.

    Raises EngineError where no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing here phones home
    if address:
        try:
            ray.init(address=address)
        except (ConnectionError, ValueError) as error:
            raise EngineError(
                f"ray: no cluster answers at {address} ({error}): start it, or mend "
                "MARQUEE_RAY_ADDRESS"
            ) from error
        return
    ray.init(
        num_cpus=num_cpus,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
