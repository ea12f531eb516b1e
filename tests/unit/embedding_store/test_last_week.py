from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedding_store.errors import ContractError
from embedding_store.last_week import ConsumerTask, told, transfer, version_of_last_week
from embedding_store.state import PublishedVersion, StoreState
from embedding_store.versions import Version
from tests.unit.embedding_store.small_world import DIM, SmallWorld, altered_version, raw_world

TURN = np.linalg.qr(np.random.default_rng(5).normal(size=(DIM, DIM)))[0]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    """A world with enough users to learn from."""
    world = SmallWorld(tmp_path_factory.mktemp("crowd"), raw=raw_world(num_users=400))
    world._serve((0, 1))
    return world


def task(world: SmallWorld, num_questions: int = 4) -> ConsumerTask:
    """Who scores which item above the median: what the vectors do know."""
    scores = world.raw.users @ world.raw.items[:num_questions].T
    return ConsumerTask(
        definition="which items a user likes",
        trained_on=world.opened(0).digest,
        user_ids=world.raw.user_ids,
        answers=scores > np.median(scores, axis=0),
    )


def share(version: Version, world: SmallWorld) -> float:
    found = transfer(version, world.opened(0), task(world))
    assert found is not None
    assert found.share_kept is not None
    return found.share_kept


def test_a_retrained_model_in_the_frame_keeps_the_consumer(crowd: SmallWorld) -> None:
    found = transfer(crowd.opened(1), crowd.opened(0), task(crowd))
    assert found is not None
    assert found.trained_now > 0.95
    assert share(crowd.opened(1), crowd) > 0.98
    assert (found.num_users, found.num_questions) == (400, 4)


def test_an_equal_version_keeps_everything(crowd: SmallWorld) -> None:
    assert share(crowd.opened(0), crowd) == 1


@pytest.mark.parametrize(
    "change",
    [lambda one: one @ TURN, lambda one: one[:, ::-1]],
    ids=["not stabilised", "coordinates in another order"],
)
def test_other_coordinates_lose_the_consumer(
    tmp_path: Path, crowd: SmallWorld, change: object
) -> None:
    assert share(altered_version(crowd, tmp_path, change, day=1), crowd) < 0.4


def test_users_are_matched_by_id_over_any_buckets(crowd: SmallWorld) -> None:
    shuffled = task(crowd)
    order = np.random.default_rng(1).permutation(400)
    ids = [shuffled.user_ids[row] for row in order]
    again = replace(shuffled, user_ids=ids, answers=shuffled.answers[order])
    results = [transfer(crowd.opened(1), crowd.opened(0), one) for one in (shuffled, again)]
    assert results[0] == results[1]


def test_vectors_that_say_nothing_have_no_share_to_keep(crowd: SmallWorld) -> None:
    answers = np.random.default_rng(2).random((400, 8)) < 0.5
    noise = replace(task(crowd), answers=answers)
    found = transfer(crowd.opened(1), crowd.opened(0), noise)
    assert found is not None
    assert found.share_kept is None
    assert "too little" in told(noise, found)


def test_too_few_users_or_answers_tell_nothing(crowd: SmallWorld) -> None:
    whole = task(crowd)
    few = replace(whole, user_ids=whole.user_ids[:49], answers=whole.answers[:49])
    nobody = replace(whole, answers=np.zeros((400, 3), dtype=bool))
    strangers = replace(whole, user_ids=[f"x-{one}" for one in whole.user_ids])
    for one in (few, nobody, strangers):
        assert transfer(crowd.opened(1), crowd.opened(0), one) is None
    assert "too few" in told(few, None)


def test_the_evidence_is_of_questions_answers_and_version(crowd: SmallWorld) -> None:
    asked = task(crowd)
    others = [
        replace(asked, definition="other"),
        replace(asked, trained_on="0" * 64),
        replace(asked, answers=~asked.answers),
        replace(asked, user_ids=[*asked.user_ids[1:], "x"]),
    ]
    assert task(crowd).evidence == asked.evidence
    assert len({one.evidence for one in (asked, *others)}) == 5


def test_answers_without_users_are_refused(crowd: SmallWorld) -> None:
    with pytest.raises(ContractError, match="one row for each of 3 users"):
        replace(task(crowd), user_ids=["a", "b", "c"])


def state_of(*days: str) -> StoreState:
    """A frame whose ``stable`` rests on versions of these days."""
    versions = {
        number: PublishedVersion(
            seq=number,
            number=number,
            digest=day,
            published_digest=day,
            frame=1,
            day=day,
            as_of=day,
            logical_id=day,
            model_digest="m",
            judged_against=None,
            manifest_sha256="",
            gate_sha256="",
            effective_at=None,  # type: ignore[arg-type]
        )
        for number, day in enumerate(days, start=1)
    }
    return StoreState(versions=versions, stacks={1: tuple(versions)})


@pytest.mark.parametrize(
    ("day", "want"),
    [
        ("2024-03-12", "2024-03-05"),  # exactly a week
        ("2024-03-11", "2024-03-01"),
        ("2024-03-05", "2024-03-01"),  # none that old: the oldest
        ("2024-03-01", None),  # nothing earlier
    ],
)
def test_the_older_version_is_the_newest_of_a_week_ago(day: str, want: str | None) -> None:
    state = state_of("2024-03-01", "2024-03-05", "2024-03-06")
    found = version_of_last_week(state, 1, day)
    assert (found.day if found else None) == want
    assert version_of_last_week(state, 2, day) is None


def test_nobody_learned_from_what_was_rolled_back() -> None:
    state = replace(state_of("2024-03-01", "2024-03-05"), stacks={1: (1,)})
    found = version_of_last_week(state, 1, "2024-03-20")
    assert found is not None
    assert found.day == "2024-03-01"
