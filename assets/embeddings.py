"""Batch inference: the day's model applied to every user and every title, and made comparable."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from embedding_store.stabilise import FrameBeside, stabilise
from embedding_store.state import Frame, StoreState
from lake.code_identity import code_identity
from lake.days import end_of
from lake.lake import Built, Written
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
    """The day's vectors in their frame's coordinates, inner products unchanged.

    Where they cannot be brought into the current frame, they are those of the next one.
    """
    built = stabilised(
        workspace,
        context.partition_key,
        [user_embeddings, item_embeddings],
        is_recomputing=is_recomputing(context),
    )
    return materialized(built, metadata=previews.of_embeddings(workspace, built.ref))


def stabilised(
    workspace: Workspace, day: str, inputs: Sequence[ArtifactRef], *, is_recomputing: bool
) -> Built:
    """Return the day's vectors, of users and of items, where ``place_of`` says they go."""
    place = place_of(workspace, day, inputs=inputs, is_recomputing=is_recomputing)
    users, items = workspace.paths(inputs)
    return workspace.build(
        "stabilised_embeddings",
        day,
        lambda folder: stabilise(
            users,
            items,
            folder,
            frame=place.frame,
            reference=workspace.store.version_folder(place.reference) if place.reference else None,
            beside=place.beside(workspace.config.min_similarity),
        ),
        code_of=STABILISATION,
        as_of=end_of(day),
        inputs=inputs,
        parameters={
            "frame": place.frame,
            "reference": place.reference,
            "min_similarity": workspace.config.min_similarity,
            # where a frame that nobody finished has taken the next number
            **({"opens": place.opens} if place.opens not in {None, place.frame + 1} else {}),
        },
        is_history=is_published(workspace, day) and not is_recomputing,
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a day's vectors go."""

    frame: int
    reference: str | None
    """Digest of the version of the frame that they are turned to; None opens the frame."""
    opens: int | None = None
    """The frame to open beside it, should they not fit; None where they must."""

    def beside(self, min_item_cosine: float) -> FrameBeside | None:
        """Return the leave to open that frame, for vectors less alike than this."""
        if self.opens is None:
            return None
        return FrameBeside(number=self.opens, min_item_cosine=min_item_cosine)


def place_of(
    workspace: Workspace, day: str, *, inputs: Sequence[ArtifactRef], is_recomputing: bool
) -> Place:
    """Return where the day's vectors go: a published day's stay where its version is.

    They are turned to what that was judged against, otherwise to what is stable now: when
    ``stable`` moved since an earlier attempt, running again stabilises and gates again. A published
    day that is recomputed counts as published once its version is made of ``inputs`` and was
    stable, or still may become it.
    """
    state = workspace.store.state()
    published = state.version_of_day(day)
    frame = frame_of(workspace, state, day)
    stable = state.stable(frame)
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
            return _place(state, frame, day, published.judged_against)
    return _place(state, frame, day, stable.digest if stable else None)


def frame_of(workspace: Workspace, state: StoreState, day: str) -> int:
    """Return the frame of a published day's version, or the one that was current at a day's end.

    So a day that is filled in late goes where its neighbours went. One that serves nothing yet is
    not gone to but opened again, and a retired one takes nothing.
    """
    published = state.version_of_day(day)
    if published is not None:
        return published.frame
    frame = workspace.store.state(as_of=end_of(day)).current_frame or workspace.config.frame
    while (held := state.opened.get(frame)) and held.beside and _is_unserved(state, held):
        frame = held.beside
    return (state.served_frame or frame) if state.is_retired(frame) else frame


def _is_unserved(state: StoreState, frame: Frame) -> bool:
    return not frame.is_retired and state.stable(frame.number) is None


def _place(state: StoreState, frame: int, day: str, reference: str | None) -> Place:
    """Return the place, as it was asked for before the day opened the frame, if it did."""
    opened, stable = state.opened.get(frame), state.stable(frame)
    if reference is None and opened is not None and opened.beside and opened.day == day:
        return Place(opened.beside, opened.judged_against, opens=frame)
    # a day of the past that does not fit fails: what came after it goes on in the frame
    is_newest = frame == state.served_frame and stable is not None and stable.day <= day
    return Place(frame, reference, opens=_to_open(state, frame, day) if is_newest else None)


def _to_open(state: StoreState, beside: int, day: str) -> int:
    """Return the next frame, or the one that the day opened and did not get to serve."""
    begun = (
        one.number
        for one in state.opened.values()
        if (one.beside, one.day) == (beside, day) and _is_unserved(state, one)
    )
    return max(begun, default=state.next_frame)


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
