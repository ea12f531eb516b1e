"""Accepting a model: one entry in the log, mirrored to the registry's alias ``champion``.

The log is the truth. The registry follows it, so mirroring is safe to repeat.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from assets.tracking import mirror_champion, register_model
from assets.workspace import Workspace
from embedding_store.entries import ModelAccepted, Role
from embedding_store.publisher import Publisher
from embedding_store.state import ModelAcceptance
from lake.refs import ArtifactRef

REGISTERED_NAME = "marquee-foundation-model"


def champion_of(workspace: Workspace) -> ModelAcceptance:
    """Return the newest accepted model, whichever day is being run again."""
    models = workspace.store.state().models
    return max(models, key=lambda one: (one.effective_at, one.role == "base", one.seq))


def accept(
    workspace: Workspace,
    model: ArtifactRef,
    *,
    role: Role,
    effective_at: datetime,
    metrics: Mapping[str, Any],
    why: str,
) -> ModelAcceptance:
    """Log that ``model`` is accepted from ``effective_at`` on; the same one twice is one entry."""
    acceptance = Publisher(workspace.store, by=model.asset).accept_model(
        ModelAccepted(
            partition=model.partition,
            role=role,
            digest=model.digest,
            uri=model.uri,
            logical_id=model.logical_id,
            metrics=metrics,
        ),
        effective_at=effective_at,
        why=why,
    )
    register_model(
        workspace.mlflow_dir,
        REGISTERED_NAME,
        model,
        run_id=str(model.figures["run_id"]),
        metrics=metrics,
    )
    mirror_champion(workspace.mlflow_dir, REGISTERED_NAME, champion_of(workspace).digest)
    return acceptance
