"""Batch inference: the day's model applied to every user and every title, and made comparable."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import dagster as dg

from assets import previews
from assets.errors import NotAcceptedError
from assets.models import is_accepted
from assets.partitions import daily
from assets.recomputing import is_kept, is_recomputing
from assets.reporting import code_version, materialized
from assets.training_inputs import inputs_before
from assets.workspace import Workspace
from embedding_store.stabilise import stabilise
from lake.code_identity import code_identity
from lake.days import end_of
from lake.lake import Written
from lake.refs import ArtifactRef
from training.data import TrainingData

INFERENCE = ("training.vectors",)
STABILISATION = ("embedding_store.stabilise",)
OWNERS = ["team:foundation-model"]
NUM_BUCKETS = 8
"""Parts of the user side: a reader of few users opens few files."""


inferred = partial(
    dg.asset,
    partitions_def=daily,
    group_name="embeddings",
    kinds={"torch", "parquet"},
    owners=OWNERS,
    code_version=code_version(INFERENCE),
    deps=["model_evaluation"],
)


@inferred()
def user_embeddings(
    context: dg.AssetExecutionContext,
    workspace: dg.ResourceParam[Workspace],
    fine_tuned_model: ArtifactRef,
) -> dg.MaterializeResult[ArtifactRef]:
    """One vector per user with a history, as of the day's end; its own space every day."""
    from training.vectors import embed_users

    embed = partial(embed_users, num_buckets=NUM_BUCKETS)
    return _embedded(
        context, workspace, fine_tuned_model, embed, parameters={"num_buckets": NUM_BUCKETS}
    )


@inferred()
def item_embeddings(
    context: dg.AssetExecutionContext,
    workspace: dg.ResourceParam[Workspace],
    fine_tuned_model: ArtifactRef,
) -> dg.MaterializeResult[ArtifactRef]:
    """One vector per title of the catalogue, from the same model as the users'."""
    from training.vectors import embed_items

    return _embedded(context, workspace, fine_tuned_model, embed_items)


def _embedded(
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    model: ArtifactRef,
    embed: Callable[[Path, TrainingData, Path], Written],
    *,
    parameters: Mapping[str, int] | None = None,
) -> dg.MaterializeResult[ArtifactRef]:
    """Apply the day's accepted model to one side of what is known at the day's end."""
    require_accepted(workspace, model)
    day, as_of = context.partition_key, end_of(context.partition_key)
    inputs = inputs_before(workspace, as_of)
    built = workspace.build(
        context.asset_key.to_user_string(),
        day,
        lambda folder: embed(workspace.lake.path(model), inputs.data, folder),
        code_of=INFERENCE,
        as_of=as_of,
        inputs=[model, *inputs.refs],
        parameters=parameters,
        is_history=is_kept(context, is_history=is_published(workspace, day)),
    )
    return materialized(built, metadata=previews.of_table(workspace, built.ref))


@dg.asset(
    partitions_def=daily,
    group_name="embeddings",
    kinds={"numpy", "parquet"},
    owners=OWNERS,
    code_version=code_version(STABILISATION),
)
def stabilised_embeddings(
    context: dg.AssetExecutionContext,
    workspace: dg.ResourceParam[Workspace],
    user_embeddings: ArtifactRef,
    item_embeddings: ArtifactRef,
) -> dg.MaterializeResult[ArtifactRef]:
    """The day's vectors turned into the frame's coordinates, inner products unchanged."""
    day, frame = context.partition_key, workspace.config.frame
    inputs = [user_embeddings, item_embeddings]
    reference = reference_of(workspace, day, inputs=inputs, is_recomputing=is_recomputing(context))
    users, items = workspace.paths(inputs)
    built = workspace.build(
        "stabilised_embeddings",
        day,
        lambda folder: stabilise(
            users,
            items,
            folder,
            frame=frame,
            reference=workspace.store.version_folder(reference) if reference else None,
        ),
        code_of=STABILISATION,
        as_of=end_of(day),
        inputs=inputs,
        parameters={"frame": frame, "reference": reference},
        is_history=is_kept(context, is_history=is_published(workspace, day)),
    )
    return materialized(built, metadata=previews.of_embeddings(workspace, built.ref))


def reference_of(
    workspace: Workspace, day: str, *, inputs: Sequence[ArtifactRef], is_recomputing: bool
) -> str | None:
    """Return the digest of the version that the day's vectors are turned to; None opens a frame.

    For a published day that is the version it was judged against, otherwise what is stable now:
    when ``stable`` moved since an earlier attempt, running again stabilises and gates again. A
    published day that is recomputed counts as published once its version is made of ``inputs`` and
    was stable, or still may become it.
    """
    state = workspace.store.state()
    published, stable = state.version_of_day(day), state.stable(workspace.config.frame)
    if published is not None:
        made = workspace.lake.find("stabilised_embeddings", day)
        is_of_inputs = (
            made is not None
            and made.logical_id == published.logical_id
            and list(made.inputs) == [ref.logical_id for ref in inputs]
            and made.producer == code_identity(*STABILISATION)
        )
        was_stable = published.number in {
            one.number for one in state.stable_switches(published.frame)
        }
        is_judged = was_stable or state.is_same(published.judged_against, stable)
        if not is_recomputing or (is_of_inputs and is_judged):
            return published.judged_against
    return stable.digest if stable else None


def require_accepted(workspace: Workspace, model: ArtifactRef) -> None:
    """Raise NotAcceptedError unless the log accepted the model, in whatever run this is called."""
    if not is_accepted(workspace, model.asset, model.partition):
        raise NotAcceptedError(
            f"{model.asset} {model.partition} is not accepted: model_evaluation was not run for "
            "it, or its check model_quality did not pass; what is published stays"
        )


def is_published(workspace: Workspace, day: str) -> bool:
    """Return whether a version of that day is published: then what it was made of is history."""
    return workspace.store.state().version_of_day(day) is not None
