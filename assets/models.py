"""The foundation model: trained from scratch each month, on the newest day each day, judged daily.

A model that was accepted is history: it takes effect from the end of what it saw, and the next day
starts from it.
"""

from pathlib import Path

import dagster as dg

from assets import previews
from assets.acceptance import accept
from assets.judgement import write_judgement
from assets.partitions import daily, days_of_the_month, monthly
from assets.recomputing import is_kept, is_recomputing, restore_history
from assets.reporting import code_version, materialized
from assets.superseding import superseded
from assets.timeline import end_of_month
from assets.training_inputs import TrainingInputs, inputs_before
from assets.training_job import TrainingJob
from assets.training_launch import launch
from assets.workspace import Workspace
from embedding_store.state import ModelAcceptance
from lake.days import end_of, start_of
from lake.lake import Built, Written
from lake.refs import ArtifactRef
from training.recipes import load_recipe

PRETRAINING = ("training.pretrain",)
FINE_TUNING = ("training.fine_tune",)
EVALUATION = ("assets.judgement",)
OWNERS = ["team:foundation-model"]


def _materialized(workspace: Workspace, built: Built) -> dg.MaterializeResult[ArtifactRef]:
    stale = superseded(workspace, built.ref) if built.is_superseded else {}
    return materialized(built, metadata={**previews.of_training(workspace, built.ref), **stale})


def base_of_day(workspace: Workspace, day: str) -> ModelAcceptance:
    """Return the accepted model that a day starts from."""
    return workspace.store.state().base_of_day(day)


def champion_of_day(workspace: Workspace, day: str) -> ModelAcceptance:
    """Return the model that the day's model has to match: what is served while the day passes.

    On the first day after a monthly base that is yesterday's model, not the base: nothing judged
    the base yet, and the day's model stands for it.
    """
    champion = workspace.store.state().champion(at=start_of(day))
    return champion or base_of_day(workspace, day)


def is_accepted(workspace: Workspace, asset: str, partition: str) -> bool:
    """Return whether the model that stands for the partition was accepted: then it is history."""
    ref = workspace.lake.find(asset, partition)
    accepted = workspace.store.state().accepted(ref.logical_id) if ref else None
    return ref is not None and accepted is not None and accepted.digest == ref.digest


def _train(
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    folder: Path,
    inputs: TrainingInputs,
    base: ModelAcceptance | None = None,
) -> Written:
    asset, partition = context.asset_key.to_user_string(), context.partition_key
    result = launch(
        context,
        TrainingJob(
            task="fine_tune" if base else "pretrain",
            recipe=workspace.config.recipe,
            data=inputs.paths(),
            as_of=inputs.data.as_of.isoformat(),
            output=str(folder),
            asset=asset,
            partition=partition,
            mlflow_folder=str(workspace.mlflow_dir),
            log_path=str(workspace.root / "logs" / f"{asset}-{partition}.log"),
            checkpoints=str(workspace.checkpoints_dir),
            day=partition if base else None,
            base=str(workspace.lake.folder(base.uri)) if base else None,
            inputs=tuple(inputs.refs),
            threads=load_recipe(workspace.config.recipe).num_threads,
        ),
    )
    return Written(
        result.rows,
        {
            **result.figures,
            "made of": _made_of(inputs, base),
            "run_id": result.run_id,
            "mlflow run": result.run_url,
            "training seconds": result.wall_s,
            "peak memory (MiB)": result.peak_rss_mb,
        },
    )


def _made_of(inputs: TrainingInputs, base: ModelAcceptance | None) -> dict[str, str]:
    """Return what a published version says of its model's origin, also after inputs changed."""
    newest = inputs.tokens[-1]
    made_of = {"tokenizer_id": newest.logical_id, "tokenizer_digest": newest.digest}
    if base:
        made_of |= {"base_id": base.logical_id, "base_digest": base.digest}
    return made_of


@dg.asset(
    partitions_def=monthly,
    group_name="model",
    kinds={"torch", "mlflow"},
    owners=OWNERS,
    code_version=code_version(PRETRAINING),
    deps=[
        "history_prefix",
        *(
            dg.AssetDep(name, partition_mapping=days_of_the_month)
            for name in ("interaction_tokens", "catalogue", "vocabulary")
        ),
    ],
)
def pretrained_model(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult[ArtifactRef]:
    """The monthly base: trained from scratch on everything before the month's end."""
    month, as_of = context.partition_key, end_of_month(context.partition_key)
    inputs = inputs_before(workspace, as_of)
    built = workspace.build(
        "pretrained_model",
        month,
        lambda folder: _train(context, workspace, folder, inputs),
        code_of=PRETRAINING,
        as_of=as_of,
        inputs=inputs.refs,
        parameters={"recipe": load_recipe(workspace.config.recipe).to_json()},
        is_history=is_accepted(workspace, "pretrained_model", month),
    )
    accept(
        workspace,
        built.ref,
        role="base",
        effective_at=as_of,
        metrics={},
        why=f"the base trained on everything before {as_of.date()}",
    )
    return _materialized(workspace, built)


@dg.asset(
    partitions_def=daily,
    group_name="model",
    kinds={"torch", "mlflow"},
    owners=OWNERS,
    code_version=code_version(FINE_TUNING),
    deps=[
        dg.AssetDep("pretrained_model", partition_mapping=dg.LastPartitionMapping()),
        "interaction_tokens",
        "catalogue",
        "vocabulary",
        "late_arrivals",
    ],
)
def fine_tuned_model(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult[ArtifactRef]:
    """Yesterday's accepted model, trained on with the newest day and a replay of older ones."""
    day, as_of = context.partition_key, end_of(context.partition_key)
    if not is_recomputing(context):
        restore_history(workspace, day)
    base = base_of_day(workspace, day)
    inputs = inputs_before(workspace, as_of)
    built = workspace.build(
        "fine_tuned_model",
        day,
        lambda folder: _train(context, workspace, folder, inputs, base),
        code_of=FINE_TUNING,
        as_of=as_of,
        inputs=inputs.refs,
        parameters={
            "recipe": load_recipe(workspace.config.recipe).to_json(),
            "base": base.logical_id,
        },
        is_history=is_kept(context, is_history=is_accepted(workspace, "fine_tuned_model", day)),
    )
    return _materialized(workspace, built)


@dg.asset(
    partitions_def=daily,
    group_name="model",
    kinds={"torch"},
    owners=OWNERS,
    code_version=code_version(EVALUATION),
)
def model_evaluation(
    context: dg.AssetExecutionContext,
    workspace: dg.ResourceParam[Workspace],
    fine_tuned_model: ArtifactRef,
) -> dg.MaterializeResult[ArtifactRef]:
    """The day's model against the champion and popularity, and yesterday's model on this day.

    Passing the quality gate accepts the model: tomorrow starts from it.
    """
    day, as_of = context.partition_key, end_of(context.partition_key)
    champion = champion_of_day(workspace, day)
    inputs = inputs_before(workspace, as_of)
    built = workspace.build(
        "model_evaluation",
        day,
        lambda folder: write_judgement(
            workspace.lake.path(fine_tuned_model),
            workspace.lake.folder(champion.uri),
            inputs.data,
            day=start_of(day).date(),
            margin=workspace.config.quality_margin,
            folder=folder,
        ),
        code_of=EVALUATION,
        as_of=as_of,
        inputs=[fine_tuned_model, *inputs.refs],
        parameters={
            "candidate": fine_tuned_model.digest,
            "champion": champion.digest,
            "margin": workspace.config.quality_margin,
        },
        is_history=is_kept(context, is_history=is_accepted(workspace, "fine_tuned_model", day)),
    )
    gate = built.ref.figures["quality gate"]
    if gate["is_passed"]:
        accept(
            workspace,
            fine_tuned_model,
            role="daily",
            effective_at=as_of,
            metrics=gate,
            why="not worse than the champion on withheld users",
        )
    return materialized(built, metadata=previews.of_evaluation(workspace, built.ref))
