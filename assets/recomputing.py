"""Recomputing a day that is history: only when a run says so, never because inputs changed.

A run tagged ``marquee/recompute`` makes the day's model and vectors again from what is known of it
now (late events, a corrected rule, other code) and publishes another version beside the first. The
same tag again finishes or skips: equal work is the same version.
"""

import dagster as dg

RECOMPUTE_TAG = "marquee/recompute"
"""On a run; its value says why."""


def is_recomputing(context: dg.AssetExecutionContext) -> bool:
    """Return whether the run asks for history to be made again."""
    return RECOMPUTE_TAG in context.run.tags


def is_kept(context: dg.AssetExecutionContext, *, is_history: bool) -> bool:
    """Return whether what stands is kept, although it would come out differently today."""
    return is_history and not is_recomputing(context)
