from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedding_store.skew import skew
from tests.unit.embedding_store.small_world import SmallWorld, altered_version, drifted, raw_world


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    """A world with many more items than a list holds."""
    world = SmallWorld(tmp_path_factory.mktemp("wide"), raw=raw_world(num_users=60, num_items=500))
    world._serve((0,))
    return world


def test_an_equal_version_shows_the_same_lists(wide: SmallWorld) -> None:
    found = skew(wide.opened(0), wide.opened(0))
    assert found is not None
    assert (found.overlap_at_10, found.overlap_at_100) == (1, 1)
    assert found.chance_at_10 == 10 / 500


def test_a_retrained_version_in_the_frame_shows_nearly_the_same(wide: SmallWorld) -> None:
    found = skew(wide.staged(1), wide.opened(0))
    assert found is not None
    assert found.overlap_at_10 > 0.8


def test_another_coordinate_system_shows_what_chance_would(
    tmp_path: Path, wide: SmallWorld
) -> None:
    """Scores of either version are exact; only a mix of both is lost."""
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(8, 8)))[0]
    found = skew(altered_version(wide, tmp_path, lambda one: one @ turn, day=0), wide.opened(0))
    assert found is not None
    assert found.overlap_at_10 < 10 * found.chance_at_10
    assert found.overlap_at_100 < 0.5


def test_only_the_mix_is_judged(tmp_path: Path, wide: SmallWorld) -> None:
    """Where the items are equal, both mixed lists are pure ones, however wrong the users are."""
    version = altered_version(wide, tmp_path, lambda one: one[:, ::-1], sides=("user",), day=0)
    found = skew(version, wide.opened(0))
    assert found is not None
    assert found.overlap_at_10 == 1


def test_strangers_have_nothing_to_compare(wide: SmallWorld) -> None:
    raw = drifted(wide.raw, seed=1)
    renamed = replace(raw, user_ids=[f"x-{one}" for one in raw.user_ids])
    assert skew(wide.staged(1, raw=renamed, name="strangers"), wide.opened(0)) is None
