"""What the buckets of a day are mapped by: threads of this process, or Ray.

=======================  ==================================================================
``MARQUEE_ENGINE``       ``threads`` (the default) or ``ray``, which is an extra of its own
``MARQUEE_RAY_ADDRESS``  a Ray cluster; without it workers start on this machine
=======================  ==================================================================

Every engine writes the same bytes, so none of this is part of any logical id.
"""

import importlib.util
import os
from collections.abc import Mapping

from assets.errors import WorkspaceError
from training.buckets import BucketMap, in_threads
from training.ray_buckets import on_ray

MAX_THREADS = 4
"""Buckets in memory at one time; more threads than that wait for each other's interpreter."""


def bucket_map(environment: Mapping[str, str]) -> BucketMap:
    """Return the map that the environment names; raises WorkspaceError when there is none."""
    name = environment.get("MARQUEE_ENGINE") or "threads"
    if name == "threads":
        return in_threads(min(MAX_THREADS, os.cpu_count() or 1))
    if name != "ray":
        raise WorkspaceError(f"MARQUEE_ENGINE: want 'threads' or 'ray', got {name!r}")
    if importlib.util.find_spec("ray") is None:
        raise WorkspaceError(
            "MARQUEE_ENGINE is 'ray', which is not installed: pip install 'marquee[ray]'"
        )
    return on_ray(environment.get("MARQUEE_RAY_ADDRESS") or None)
