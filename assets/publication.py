"""Publishing: stage → verify → gate → log; then the version is tried out and served.

Everything here can be killed anywhere and run again: the log decides, the rest is a projection.
"""

from datetime import timedelta

import dagster as dg

from assets import previews
from assets.errors import NotPublishedError
from assets.figures import gate_figures, trial_figures
from assets.last_week_task import last_week_task
from assets.partitions import daily
from assets.presentation import table
from assets.promotion import serve
from assets.recomputing import RECOMPUTE_TAG, is_recomputing
from assets.reporting import EMBEDDED, code_version, work
from assets.superseding import superseded
from assets.workspace import Workspace
from embedding_store.gates import GatePolicy, QualityComparison, published_record
from embedding_store.manifest import Origin
from embedding_store.publisher import Evidence, Publisher
from embedding_store.staging import ActiveUsers
from lake.days import end_of
from lake.refs import ArtifactRef
from training.tokens.activity import users_of

PUBLICATION = ("embedding_store.publisher",)
PROJECTION = ("feature_repo.projection", "embedding_store.canary")
OWNERS = ["team:feature-platform"]


@dg.asset(
    partitions_def=daily,
    group_name="publication",
    kinds={"parquet"},
    owners=OWNERS,
    code_version=code_version(PUBLICATION),
    pool="publication",
)
def published_version(
    context: dg.AssetExecutionContext,
    workspace: dg.ResourceParam[Workspace],
    stabilised_embeddings: ArtifactRef,
    fine_tuned_model: ArtifactRef,
    model_evaluation: ArtifactRef,
) -> dg.MaterializeResult[None]:
    """The day's users and items as one immutable, gated version in the log."""
    day = context.partition_key
    publisher = Publisher(workspace.store, by="published_version", dtype=workspace.config.dtype)
    publication = publisher.publish(
        workspace.lake.path(stabilised_embeddings),
        origin=origin_of(day, stabilised_embeddings, fine_tuned_model),
        evidence=evidence_of_day(
            workspace, day, model_evaluation, frame=stabilised_embeddings.figures["frame"]
        ),
        effective_at=end_of(day),
        why=context.run.tags.get(RECOMPUTE_TAG, f"the daily refresh of {day}"),
        republish=is_recomputing(context),
    )
    version = publication.version
    picture = previews.of_gates(workspace, version)
    embedded = picture.pop(EMBEDDED)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(version.digest),
        metadata={
            **picture,
            "version": version.name,
            "frame": version.frame,
            **gate_figures(published_record(workspace.store, version)),
            **work(is_skipped=publication.is_existing),
            **superseded(workspace, fine_tuned_model),
            "sees data before": version.as_of,
            "digest": version.digest,
            EMBEDDED: embedded,
        },
    )


@dg.asset(
    partitions_def=daily,
    group_name="publication",
    kinds={"feast"},
    owners=OWNERS,
    code_version=code_version(PROJECTION),
    deps=["published_version"],
    pool="publication",
)
def served_features(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult[None]:
    """The version behind the feature service: online rows read back, ``stable`` promoted."""
    day = context.partition_key
    state = workspace.store.state()
    version = state.version_of_day(day) or state.newest_of_day(day)
    if version is None:
        raise NotPublishedError(f"{day} has no published version: run published_version first")
    if state.is_retired(version.frame):
        raise NotPublishedError(
            f"{day} is published as {version.name} of frame {version.frame}, which is retired: "
            "nothing of it is served any more"
        )
    served = serve(workspace, version)
    stable = workspace.store.state().stable(version.frame)
    assert stable is not None
    if served.note:
        context.log.warning(served.note)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(version.digest),
        metadata={
            "version": version.name,
            "stable is": stable.name,
            **({"not served because": served.note} if served.note else {}),
            "service": f"embeddings_f{version.frame}_stable",
            "read back": table(
                [{"name": key, "value": one} for key, one in served.confirmed.items()]
            ),
            **trial_figures(served.trial),
            **work(is_skipped=not served.is_switched),
        },
    )


def origin_of(day: str, stabilised: ArtifactRef, model: ArtifactRef) -> Origin:
    """Return where the day's version comes from: what its model was made of, not what is there now.

    A late event rewrites the day's tokens, and the model that read the earlier ones stays.
    """
    return Origin(
        day=day,
        as_of=end_of(day).isoformat(),
        logical_id=stabilised.logical_id,
        model_id=model.logical_id,
        model_digest=model.digest,
        **model.figures["made of"],
    )


def evidence_of_day(
    workspace: Workspace, day: str, evaluation: ArtifactRef, *, frame: int
) -> Evidence:
    """Return what the gates look at: active users, model against champion, last week's consumer."""
    config = workspace.config
    since = (end_of(day) - timedelta(days=config.active_days)).date().isoformat()
    tokens = workspace.history("interaction_tokens", as_of=end_of(day))
    recent = [ref for ref in tokens if ref.partition >= since]
    gate = evaluation.figures["quality gate"]
    return Evidence(
        active_users=ActiveUsers(
            definition=f"at least one token in the last {config.active_days} days",
            ids=users_of(workspace.paths(recent)),
        ),
        quality=QualityComparison(
            metric=gate["metric"],
            difference=gate["difference"],
            lower=gate["lower"],
            upper=gate["upper"],
            num_users=gate["num_users"],
            evidence=evaluation.digest,
        ),
        consumer=last_week_task(workspace, day, frame=frame),
        policy=GatePolicy(
            min_item_cosine=config.min_similarity, max_quality_loss=config.quality_margin
        ),
    )
