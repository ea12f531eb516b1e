import pytest

from embedding_store.decisions import (
    check_stable,
    held_publication,
    version_to_promote,
    version_to_retire,
    version_to_return_to,
)
from embedding_store.errors import (
    AlreadyPublishedError,
    NoVersionError,
    PublicationRefusedError,
    StableMovedError,
)
from embedding_store.state import StoreState
from tests.unit.embedding_store.small_world import SmallWorld, day_name, instant


@pytest.fixture(scope="module")
def state(served_world: SmallWorld) -> StoreState:
    """Three versions, the last one stable."""
    return served_world.store.state()


def test_the_same_work_of_a_day_is_held_and_other_work_is_refused(
    state: StoreState, served_world: SmallWorld
) -> None:
    same, other = served_world.origin(2), served_world.origin(2, "other work")
    held = held_publication(state, same, republish=False)
    assert held == state.version_of_day(day_name(2))
    assert held_publication(state, served_world.origin(3), republish=False) is None
    assert held_publication(state, other, republish=True) is None
    with pytest.raises(AlreadyPublishedError, match="published as v3"):
        held_publication(state, other, republish=False)


def test_only_stable_is_what_was_judged_against(state: StoreState) -> None:
    check_stable(state, 1, state.version(3).digest)
    check_stable(state, 2, None)
    for frame, digest in ((1, state.version(2).digest), (1, None), (2, state.version(3).digest)):
        with pytest.raises(StableMovedError):
            check_stable(state, frame, digest)


def test_a_version_is_promoted_again_only_when_asked_for(state: StoreState) -> None:
    def asked(number: int, *, again: bool) -> object:
        against = state.version(3).digest
        return version_to_promote(
            state, "stable", number, judged_against=against, effective_at=instant(9), again=again
        )

    assert asked(2, again=False) is None
    assert asked(2, again=True) == state.version(2)
    assert asked(3, again=True) is None


def test_a_rollback_goes_to_what_stable_rests_on(state: StoreState) -> None:
    def asked(to: int | None, frame: int = 1) -> object:
        return version_to_return_to(state, frame, to, start=3, effective_at=instant(9))

    assert asked(None) == state.version(2)
    assert asked(1) == state.version(1)
    assert asked(3) is None
    with pytest.raises(NoVersionError):
        asked(None, frame=2)
    with pytest.raises(NoVersionError):
        asked(9)


def test_stable_is_not_retired(state: StoreState) -> None:
    assert version_to_retire(state, 2) == state.version(2)
    with pytest.raises(PublicationRefusedError, match="v3 is stable of frame 1"):
        version_to_retire(state, 3)
