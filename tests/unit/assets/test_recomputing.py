"""A recomputation that came to nothing leaves no trace where history is looked for."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assets.recomputing import restore_history
from assets.workspace import Workspace
from embedding_store.entries import ModelAccepted, VersionPublished, to_body
from lake.lake import Step, Written
from lake.refs import ArtifactRef

DAY = "2026-02-01"
AT = datetime(2026, 2, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Made:
    model: ArtifactRef
    evaluation: ArtifactRef
    users: ArtifactRef
    items: ArtifactRef
    stabilised: ArtifactRef

    def current(self, workspace: Workspace) -> "Made":
        return Made(
            *(
                workspace.lake.require(one.asset, DAY)
                for one in (self.model, self.evaluation, self.users, self.items, self.stabilised)
            )
        )


def make(workspace: Workspace, what: str) -> Made:
    """Build the day's artifacts as if ``what`` had been known of it."""

    def build(asset: str, *inputs: ArtifactRef) -> ArtifactRef:
        def write(folder: Path) -> Written:
            (folder / "content").write_text(f"{asset} of {what}")
            return Written(1)

        step = Step(
            asset=asset,
            partition=DAY,
            schema_id=f"{asset}/1",
            as_of=AT.isoformat(),
            code="code",
            inputs=inputs,
            parameters={} if inputs else {"what": what},
        )
        return workspace.lake.build(step, write).ref

    model = build("fine_tuned_model")
    users, items = build("user_embeddings", model), build("item_embeddings", model)
    stabilised = build("stabilised_embeddings", users, items)
    return Made(model, build("model_evaluation", model), users, items, stabilised)


def log(workspace: Workspace, body: ModelAccepted | VersionPublished) -> None:
    workspace.store.log.append(body.kind, to_body(body), effective_at=AT, by="test", why="test")


def accept(workspace: Workspace, made: Made) -> None:
    model = made.model
    log(
        workspace,
        ModelAccepted(
            partition=DAY,
            role="daily",
            digest=model.digest,
            uri=model.uri,
            logical_id=model.logical_id,
            metrics={},
        ),
    )


def publish(workspace: Workspace, made: Made) -> None:
    log(
        workspace,
        VersionPublished(
            digest="v",
            number=1,
            frame=1,
            day=DAY,
            as_of=AT.isoformat(),
            logical_id=made.stabilised.logical_id,
            model_digest=made.model.digest,
            judged_against=None,
            manifest_sha256="m",
            gate_sha256="g",
        ),
    )


@pytest.mark.parametrize("is_accepted_again", [False, True], ids=["refused", "not published"])
def test_a_published_day_stands_as_it_was_published(
    workspace: Workspace, is_accepted_again: bool
) -> None:
    first = make(workspace, "the day")
    accept(workspace, first)
    publish(workspace, first)
    second = make(workspace, "the day and late events")
    if is_accepted_again:
        accept(workspace, second)
    assert first.current(workspace) == second

    restore_history(workspace, DAY)

    assert first.current(workspace) == first


def test_a_day_that_is_not_published_stands_with_its_accepted_model(workspace: Workspace) -> None:
    first = make(workspace, "the day")
    accept(workspace, first)
    second = make(workspace, "the day and late events")

    restore_history(workspace, DAY)

    now = first.current(workspace)
    assert (now.model, now.evaluation) == (first.model, first.evaluation)
    assert now.stabilised == second.stabilised


def test_a_day_without_history_is_left_alone(workspace: Workspace) -> None:
    first = make(workspace, "the day")
    make(workspace, "the day and late events")
    second = first.current(workspace)

    restore_history(workspace, DAY)

    assert first.current(workspace) == second
