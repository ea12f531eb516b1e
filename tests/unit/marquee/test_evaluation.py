"""Which days ``marquee evaluate`` takes: none that the model was trained on."""

from datetime import UTC, datetime

import pytest

from assets.workspace import Workspace
from embedding_store import ModelAccepted, Publisher
from embedding_store.entries import Role
from tests.unit.embedding_store.small_world import SmallWorld, instant
from tests.unit.marquee.conftest import Marquee


def accept(workspace: Workspace, role: Role, partition: str, ends: datetime) -> None:
    version = workspace.store.state().version(2)
    Publisher(workspace.store, by="a test").accept_model(
        ModelAccepted(
            partition=partition,
            role=role,
            digest=version.model_digest,
            uri="models/one",
            logical_id="one",
        ),
        effective_at=ends,
        why="a test",
    )


@pytest.mark.parametrize(
    ("role", "partition", "ends", "last_seen"),
    [
        ("daily", "2024-03-02", datetime(2024, 3, 3, tzinfo=UTC), "2024-03-02"),
        ("base", "2024-03-01", datetime(2024, 4, 1, tzinfo=UTC), "2024-03-31"),
    ],
)
def test_days_that_the_model_saw_are_refused(
    workspace: Workspace,
    marquee: Marquee,
    role: Role,
    partition: str,
    ends: datetime,
    last_seen: str,
) -> None:
    accept(workspace, role, partition, ends)
    for first, last in [(last_seen, "2024-04-02"), ("2024-04-02", "2024-04-01")]:
        answer = marquee("evaluate", first, last)
        assert answer.status == 1
        assert f"want days after {last_seen}, the last one that v2 was trained on" in answer.err

    day_after = f"{ends:%Y-%m-%d}"
    assert "its model is gone" in marquee("evaluate", day_after, day_after).err  # what comes next


@pytest.mark.parametrize("day", ["2024-W10-1", "20240304", "9999-12-31", "2024-02-30", ""])
def test_a_day_is_named_as_partitions_are(marquee: Marquee, day: str) -> None:
    """Names are compared to tell whether a model saw the day, and other forms sort otherwise."""
    answer = marquee("evaluate", day, day)

    assert (answer.status, answer.out) == (1, "")
    assert answer.err == f"error: want a day as YYYY-MM-DD, got {day!r}\n"


def test_a_model_that_is_gone_is_named_with_what_helps(world: SmallWorld, marquee: Marquee) -> None:
    stable = world.store.state().stable(1)
    assert stable is not None
    accepted = ModelAccepted(
        role="daily",
        partition=stable.day,
        digest=stable.model_digest,
        uri="artifacts/fine_tuned_model/gone",
        logical_id="work",
    )
    world.publisher.accept_model(accepted, effective_at=instant(9), why="a test")

    answer = marquee("evaluate", "2024-04-08", "2024-04-08")

    assert answer.status == 1
    assert "error: v2: its model is gone, no folder " in answer.err
    assert "fine_tuned_model/gone: restore it from a copy" in answer.err
