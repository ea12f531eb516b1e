"""What a workspace keeps and for how long, and the collection of the rest.

::

    log entries, aliases, the model registry ─► what is needed, whatever its age
    lake ─► versions ─► indexes ─► dagster ─► mlflow ─► logs, pictures: what is old and unneeded

Every collector removes one thing after the other, each safe to lose: whoever is killed in between
runs again. A rehearsal yields the same and removes nothing.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import dagster as dg

from assets.acceptance import REGISTERED_NAME
from assets.consumer_registry import publisher_of
from assets.pages import pages_of_artifacts
from assets.promotion import pinned_by_consumers
from assets.run_collection import (
    bytes_below,
    collect_orchestrated,
    collect_tracked,
    registered_folders,
)
from assets.workspace import Workspace
from embedding_store.indexes import collect_indexes
from embedding_store.retention import beyond_kept, collect_versions
from lake.atomic import abandoned
from lake.collecting import Collected, Needs, collect
from lake.refs import ArtifactRef


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """How long a workspace keeps what nothing needs any more; the rest is kept for good."""

    replaced_days: int = 30
    """References that others replaced, with the artifacts that only they name: what an explicit
    recomputation or late events put aside."""

    unnamed_days: int = 7
    """Artifacts that no reference names: a build was killed between its two last steps."""

    retired_days: int = 7
    """Files of versions that were retired: whoever pinned one by itself has that time to move on.
    How many versions are kept is the workspace's ``kept_versions``."""

    logs_days: int = 30
    """Logs of training processes, and pages about artifacts that are gone."""

    orchestrator_days: int = 90
    """Finished runs of Dagster with their events and outputs, unless one of them is the newest
    materialization of a partition."""

    tracker_days: int = 90
    """Finished runs of MLflow with their curves and files, unless a registered model or an artifact
    of the lake names them."""


def collect_workspace(
    workspace: Workspace,
    instance: dg.DagsterInstance | None,
    policy: RetentionPolicy,
    *,
    now: datetime,
    is_rehearsal: bool,
) -> Iterator[Collected]:
    """Remove what the policy lets go and yield each; a rehearsal only yields.

    Args:
        workspace: which one; whoever calls holds it.
        instance: of the orchestrator, where the workspace has one.
        policy: for how long things are kept.
        now: instant from which ages are counted.
        is_rehearsal: remove nothing.
    """
    ago = partial(_ago, now)
    yield from _unfinished(workspace, is_rehearsal=is_rehearsal)
    references = _references(workspace)
    needs = _needs(workspace, references.values(), policy, now)
    for one in collect(workspace.lake, needs, is_rehearsal=is_rehearsal):
        references.pop(one.name, None)  # so that a rehearsal goes on as if it were gone
        yield one
    yield from _versions(workspace, policy, now, is_rehearsal=is_rehearsal)
    for name, num_bytes in collect_indexes(workspace.store, is_rehearsal=is_rehearsal):
        yield Collected("indexes of versions that are gone", name, num_bytes)
    for name, num_bytes in workspace.store.log.checkpoints.collect(is_rehearsal=is_rehearsal):
        yield Collected("checkpoints of the log that newer ones replaced", name, num_bytes)
    if instance is not None:
        yield from collect_orchestrated(
            instance,
            workspace.root / "dagster",
            before=ago(policy.orchestrator_days),
            is_rehearsal=is_rehearsal,
        )
    yield from collect_tracked(
        workspace.mlflow_dir,
        before=ago(policy.tracker_days),
        needed={str(ref.figures.get("run_id")) for ref in references.values()},
        is_rehearsal=is_rehearsal,
    )
    yield from _files(
        workspace, references.values(), ago(policy.logs_days), is_rehearsal=is_rehearsal
    )


def _versions(
    workspace: Workspace, policy: RetentionPolicy, now: datetime, *, is_rehearsal: bool
) -> Iterator[Collected]:
    """Retire the oldest versions of each frame, and remove files that nothing reads any more."""
    store, keep = workspace.store, workspace.config.kept_versions
    publisher = publisher_of(workspace, by="gc")
    state = store.state()
    for frame in state.frames:
        pinned = pinned_by_consumers(workspace, frame)
        for version in beyond_kept(state, frame, keep=keep, pinned=pinned):
            yield Collected("versions that are retired", version.name, 0)
            if not is_rehearsal:
                publisher.retire(
                    version.number,
                    effective_at=version.effective_at,
                    why=f"the newest {keep} versions are kept",
                )
    for name, num_bytes in collect_versions(
        store,
        retired_before=_ago(now, policy.retired_days),
        unnamed_before=_ago(now, policy.unnamed_days),
        is_rehearsal=is_rehearsal,
    ):
        yield Collected("files of versions that are retired or were refused", name, num_bytes)


def _ago(now: datetime, days: int) -> datetime:
    return now - timedelta(days=days)


def _needs(
    workspace: Workspace,
    references: Collection[ArtifactRef],
    policy: RetentionPolicy,
    now: datetime,
) -> Needs:
    """Return what of the lake stays, and for how long what nothing needs does."""
    return Needs(
        is_needed=_Needed.of(workspace, references),
        folders={model.uri for model in workspace.store.state().models}
        | registered_folders(workspace.mlflow_dir, REGISTERED_NAME),
        replaced_after=_ago(now, policy.replaced_days),
        unnamed_after=_ago(now, policy.unnamed_days),
    )


@dataclass(frozen=True, slots=True)
class _Needed:
    """Whether an artifact may have to stand again: what ``restore_history`` looks for."""

    digests: frozenset[str]
    works: frozenset[str]
    models: frozenset[str]

    @classmethod
    def of(cls, workspace: Workspace, references: Collection[ArtifactRef]) -> "_Needed":
        """Return what the log's models and versions need."""
        state = workspace.store.state()
        stabilised = {version.logical_id for version in state.versions.values()}
        vectors = {
            logical_id
            for ref in references
            if ref.asset == "stabilised_embeddings" and ref.logical_id in stabilised
            for logical_id in ref.inputs
        }
        return cls(
            digests=frozenset(model.digest for model in state.models)
            | {version.model_digest for version in state.versions.values()},
            works=frozenset(stabilised | vectors),
            models=frozenset(model.logical_id for model in state.models),
        )

    def __call__(self, ref: ArtifactRef) -> bool:
        is_judgement = ref.asset == "model_evaluation"
        return (
            ref.digest in self.digests
            or ref.logical_id in self.works
            or (is_judgement and not self.models.isdisjoint(ref.inputs))
        )


def _references(workspace: Workspace) -> dict[str, ArtifactRef]:
    """Return every reference by its key, also those that others replaced."""
    lake = workspace.lake
    return {key: ref for one in lake.partitions() for key, ref in lake.references(*one).items()}


def _unfinished(workspace: Workspace, *, is_rehearsal: bool) -> Iterator[Collected]:
    lake, store = workspace.root / "lake", workspace.root / "store"
    roots = (lake, lake / "cache", store, store / "cache")
    for folder in (one for root in roots for one in abandoned(root / "tmp")):
        yield _folder("unfinished work of killed processes", workspace, folder)
    if not is_rehearsal:
        workspace.sweep()


def _files(
    workspace: Workspace,
    references: Collection[ArtifactRef],
    before: datetime,
    *,
    is_rehearsal: bool,
) -> Iterator[Collected]:
    """Collect old logs of training, pictures and reports that no artifact stands behind."""
    shown = {f"{ref.partition}-{ref.digest[:16]}" for ref in references}
    shown |= {f"{one.day}-{one.digest[:16]}" for one in workspace.store.state().versions.values()}
    pages = pages_of_artifacts(workspace.root)
    old = [
        *(("training logs", path) for path in sorted((workspace.root / "logs").glob("*.log"))),
        *(("pictures and reports", path) for path in pages if path.stem not in shown),
    ]
    for what, path in old:
        found = path.stat()
        if found.st_mtime >= before.timestamp():
            continue
        yield Collected(what, path.relative_to(workspace.root).as_posix(), found.st_size)
        if not is_rehearsal:
            path.unlink()


def _folder(what: str, workspace: Workspace, folder: Path) -> Collected:
    return Collected(what, folder.relative_to(workspace.root).as_posix(), bytes_below(folder))
