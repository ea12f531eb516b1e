import pytest

from embedding_store.entries import ModelAccepted
from tests.unit.embedding_store.small_world import SmallWorld, instant
from tests.unit.marquee.conftest import Marquee


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

    answer = marquee("evaluate", "2024-03-08", "2024-03-08")

    assert answer.status == 1
    assert "error: v2: its model is gone, no folder " in answer.err
    assert "fine_tuned_model/gone: restore it from a copy" in answer.err
