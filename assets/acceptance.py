"""Accepting a model: one entry in the log, mirrored to the registry's alias ``champion``.

The log is the truth. The registry follows it, so mirroring is safe to repeat.
"""

from datetime import datetime
from typing import Any, Literal

from assets.tracking import mirror_champion, register_model
from assets.workspace import Workspace
from embedding_store.publisher import accept_model
from embedding_store.state import ModelAcceptance
from lake.refs import ArtifactRef

REGISTERED_NAME = "marquee-foundation-model"


def accept(
    workspace: Workspace,
    model: ArtifactRef,
    *,
    role: Literal["base", "daily"],
    effective_at: datetime,
    metrics: dict[str, Any],
) -> ModelAcceptance:
    """Log that ``model`` is accepted from ``effective_at`` on; the same one twice is one entry."""
    acceptance = accept_model(
        workspace.store,
        partition=model.partition,
        role=role,
        digest=model.digest,
        uri=model.uri,
        logical_id=model.logical_id,
        metrics=metrics,
        effective_at=effective_at,
    )
    register_model(
        workspace.mlflow_dir,
        REGISTERED_NAME,
        model,
        run_id=str(model.figures["run_id"]),
        metrics=metrics,
    )
    mirror_champion(workspace.mlflow_dir, REGISTERED_NAME, acceptance.digest)
    return acceptance
