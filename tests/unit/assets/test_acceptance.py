from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

import assets.acceptance
import assets.tracking
from assets.acceptance import REGISTERED_NAME, accept, follow_log
from assets.tracking import champion
from assets.workspace import Workspace
from embedding_store.entries import ModelAccepted
from embedding_store.publisher import Publisher
from lake.atomic import replace_json
from lake.refs import ArtifactRef

START = datetime(2026, 2, 1, tzinfo=UTC)


def held(workspace: Workspace, ref: ArtifactRef, asset: str, partition: str) -> ArtifactRef:
    """Put a model's reference into the lake, as its build would."""
    name = f"{asset} {partition}"
    model = replace(
        ref,
        asset=asset,
        partition=partition,
        logical_id=name,
        digest=f"digest of {name}",
        figures={"run_id": "a run"},
    )
    path = workspace.lake.root / "refs" / asset / f"{partition}.json"
    replace_json(path, model.to_json())
    return model


def accept_base(workspace: Workspace, ref: ArtifactRef) -> None:
    model = held(workspace, ref, "pretrained_model", "2026-01-01")
    accept(workspace, model, role="base", effective_at=START, metrics={}, why="")


def accept_daily(workspace: Workspace, ref: ArtifactRef, day: str) -> None:
    model = held(workspace, ref, "fine_tuned_model", day)
    at = datetime.fromisoformat(f"{day}T00:00:00+00:00") + timedelta(days=1)
    accept(workspace, model, role="daily", effective_at=at, metrics={"lower": 0.1}, why="")


def test_a_kill_while_a_model_is_accepted_does_not_stop_the_steps_before_it(
    workspace: Workspace, ref: ArtifactRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept_base(workspace, ref)
    with monkeypatch.context() as killed:
        killed.setattr(assets.acceptance, "mirror_champion", lambda *_: 1 / 0)
        killed.setattr(assets.acceptance, "register_model", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            accept_daily(workspace, ref, "2026-02-01")
    assert champion(workspace.mlflow_dir, REGISTERED_NAME) == 1

    accept_base(workspace, ref)  # as the same command again does
    assert champion(workspace.mlflow_dir, REGISTERED_NAME) == 1

    accept_daily(workspace, ref, "2026-02-01")
    assert champion(workspace.mlflow_dir, REGISTERED_NAME) == 2


def test_a_lost_registry_is_filled_from_the_log_again(
    workspace: Workspace, ref: ArtifactRef
) -> None:
    accept_base(workspace, ref)
    accept_daily(workspace, ref, "2026-02-01")
    workspace.mlflow_dir.rename(workspace.root / "lost")
    assets.tracking._client.cache_clear()

    accept_base(workspace, ref)

    assert champion(workspace.mlflow_dir, REGISTERED_NAME) == 2


def test_a_new_base_is_no_champion_before_a_days_model_proved_it(
    workspace: Workspace, ref: ArtifactRef
) -> None:
    accept_base(workspace, ref)
    accept_daily(workspace, ref, "2026-02-01")
    other = held(workspace, ref, "pretrained_model", "2026-02-01")

    accept(
        workspace,
        other,
        role="base",
        effective_at=START + timedelta(days=28),
        metrics={},
        why="",
    )

    assert champion(workspace.mlflow_dir, REGISTERED_NAME) == 2


def test_a_champion_that_no_lake_here_has_is_told_of_and_stops_nothing(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a workspace whose store was restored: the log names models that lie elsewhere."""
    elsewhere = ModelAccepted(
        partition="2026-02-01", role="daily", digest="d", uri="u", logical_id="l"
    )
    Publisher(workspace.store, by="a test").accept_model(elsewhere, effective_at=START, why="")

    follow_log(workspace)

    assert champion(workspace.mlflow_dir, REGISTERED_NAME) is None
    assert "the champion of 2026-02-01 is not in this workspace" in caplog.text
