from dataclasses import replace

import numpy as np
import pytest

from embedding_store.canary import PROBE_USERS, disappointed, try_out
from embedding_store.client import EmbeddingClient
from embedding_store.pinned import PinnedVersion
from tests.unit.embedding_store.small_world import SmallWorld, raw_world
from tests.unit.embedding_store.test_consumers import NEEDS


@pytest.fixture(scope="module")
def pinned(served_world: SmallWorld) -> dict[int, PinnedVersion]:
    client = EmbeddingClient(served_world.store.root)
    return {number: client.pin_number(number) for number in (1, 2)}


def test_a_version_beside_itself_loses_nothing(pinned: dict[int, PinnedVersion]) -> None:
    trial = try_out(pinned[1].users, pinned[1], pinned[1])
    assert (trial.found, trial.same_top_10) == (1.0, 1.0)
    assert 0 < trial.probe_users <= PROBE_USERS
    assert str(trial).startswith("100.0% of ")


def test_the_share_of_the_ten_best_is_that_of_the_definition(
    pinned: dict[int, PinnedVersion],
) -> None:
    asked: list[str] = []
    trial = try_out(lambda ids: asked.extend(ids) or pinned[2].users(ids), pinned[2], pinned[1])
    shares = []
    for user in asked:
        tops = [{item for item, _ in one.top_items(user, 10)} for one in pinned.values()]
        shares.append(len(tops[0] & tops[1]) / 10)
    assert trial.same_top_10 == pytest.approx(np.mean(shares))
    assert 0 < trial.same_top_10 < 1
    assert (trial.version, trial.baseline) == ("v2", "v1")


def test_users_who_are_not_answered_are_counted(pinned: dict[int, PinnedVersion]) -> None:
    def every_second(ids: list[str]) -> object:
        answer = pinned[2].users(ids)
        return replace(answer, is_found=np.arange(len(ids)) % 2 == 0)

    assert try_out(every_second, pinned[2], pinned[1]).found == pytest.approx(0.5, abs=0.1)
    nobody = try_out(lambda ids: pinned[2].users([f"x{one}" for one in ids]), pinned[2], pinned[1])
    assert (nobody.found, nobody.same_top_10) == (0, 0)


def test_the_first_version_of_a_frame_has_nothing_to_be_compared_with(
    pinned: dict[int, PinnedVersion],
) -> None:
    trial = try_out(pinned[1].users, pinned[1], None)
    assert (trial.found, trial.same_top_10, trial.baseline) == (1.0, None, None)


def test_who_gets_less_than_they_ask_for_is_named(pinned: dict[int, PinnedVersion]) -> None:
    trial = replace(try_out(pinned[1].users, pinned[1], pinned[1]), found=0.9, same_top_10=0.4)
    strict = replace(NEEDS, found=0.95, same_top_10=0.5)
    assert disappointed([NEEDS, replace(strict, frame=2)], trial, frame=1) == []
    assert disappointed([strict], trial, frame=1) == [
        "home-page/ranker wants found of at least 95.0%, got 90.0%",
        "home-page/ranker wants same_top_10 of at least 50.0%, got 40.0%",
    ]
    assert disappointed([replace(strict, found=0.9, same_top_10=None)], trial, frame=1) == []


def test_other_coordinates_keep_no_list(world: SmallWorld) -> None:
    world.serve(0)
    first = EmbeddingClient(world.store.root).pin_number(1)
    other = SmallWorld(world.folder / "other", raw=raw_world(seed=9))
    other.promote(other.publish(0))
    second = EmbeddingClient(other.store.root).pin_number(1)
    assert try_out(second.users, second, first).same_top_10 < 0.5
