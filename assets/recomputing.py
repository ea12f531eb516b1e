"""Recomputing a day that is history: only when a run says so, never because inputs changed.

A run tagged ``marquee/recompute`` makes the day's model and vectors again from what is known of it
now (late events, a corrected rule, other code) and publishes another version beside the first. The
same tag again finishes or skips: equal work is the same version.
"""

import dagster as dg

from assets.workspace import Workspace

RECOMPUTE_TAG = "marquee/recompute"
"""On a run; its value says why."""


def is_recomputing(context: dg.AssetExecutionContext) -> bool:
    """Return whether the run asks for history to be made again."""
    return RECOMPUTE_TAG in context.run.tags


def is_kept(context: dg.AssetExecutionContext, *, is_history: bool) -> bool:
    """Return whether what stands is kept, although it would come out differently today."""
    return is_history and not is_recomputing(context)


def restore_history(workspace: Workspace, day: str) -> None:
    """Let the day's artifacts be those of its published version, or else of its accepted model.

    A recomputation that a gate refused, or that was killed, leaves its own behind: they must not
    stand where a plain run looks for history.
    """
    state, lake = workspace.store.state(), workspace.lake
    version = state.version_of_day(day)
    accepted = [one for one in state.models if (one.role, one.partition) == ("daily", day)]
    if version is None and not accepted:
        return
    digest = version.model_digest if version else accepted[-1].digest
    model = lake.restore("fine_tuned_model", day, is_wanted=lambda ref: ref.digest == digest)
    if model is not None:
        lake.restore(
            "model_evaluation", day, is_wanted=lambda ref: model.logical_id in ref.inputs[:1]
        )
    if version is None:
        return
    stabilised = lake.restore(
        "stabilised_embeddings", day, is_wanted=lambda ref: ref.logical_id == version.logical_id
    )
    if stabilised is None:
        return
    for asset in ("user_embeddings", "item_embeddings"):
        lake.restore(asset, day, is_wanted=lambda ref: ref.logical_id in stabilised.inputs)
