"""Accepting a model: one entry in the log, mirrored to the registry's alias ``champion``.

::

    register ─► log: model_accepted ─► alias champion

A model is registered before the log accepts it, so that whatever the log names is in the registry,
also after a kill in between. The log is the truth; the registry follows it, and every step is safe
to repeat.
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from assets.tracking import is_registered, mirror_champion, register_model
from assets.workspace import Workspace
from embedding_store.entries import ModelAccepted, Role
from embedding_store.publisher import Publisher
from embedding_store.state import ModelAcceptance
from lake.refs import ArtifactRef

logger = logging.getLogger(__name__)

REGISTERED_NAME = "marquee-foundation-model"
_ASSET_OF_ROLE: Mapping[Role, str] = {"base": "pretrained_model", "daily": "fine_tuned_model"}


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
    _register(workspace, model, metrics)
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
    follow_log(workspace)
    return acceptance


def follow_log(workspace: Workspace) -> None:
    """Point ``champion`` at the log's champion, whichever day is being run again."""
    champion = workspace.store.state().champion()
    if champion is None:
        return
    held = workspace.lake.find(_ASSET_OF_ROLE[champion.role], champion.partition)
    if held is not None and held.digest == champion.digest:
        _register(workspace, held, champion.metrics)  # the registry may be younger than the log
    elif not is_registered(workspace.mlflow_dir, REGISTERED_NAME, champion.digest):
        # a store that was restored, or lies in a bucket: it serves without any model at hand
        logger.warning(
            "the champion of %s is not in this workspace: MLflow does not show it",
            champion.partition,
        )
        return
    mirror_champion(workspace.mlflow_dir, REGISTERED_NAME, champion.digest)


def _register(workspace: Workspace, model: ArtifactRef, metrics: Mapping[str, Any]) -> None:
    register_model(
        workspace.mlflow_dir,
        REGISTERED_NAME,
        model,
        run_id=str(model.figures["run_id"]),
        metrics=metrics,
    )
