from pathlib import Path

import numpy as np
import pytest

from embedding_store.drift import drift
from embedding_store.versions import Version
from tests.unit.embedding_store.small_world import SmallWorld, altered_version


@pytest.fixture
def reference(served_world: SmallWorld) -> Version:
    return served_world.opened(2)


def test_an_equal_version_has_not_moved(reference: Version) -> None:
    for side in drift(reference, reference).values():
        assert side.norm_ratio == 1
        assert side.covariance_distance == 0


def test_longer_vectors_are_as_bad_as_shorter_ones(
    tmp_path: Path, served_world: SmallWorld, reference: Version
) -> None:
    for factor in (4.0, 0.25):
        version = altered_version(
            served_world, tmp_path / str(factor), lambda one, f=factor: f * one
        )
        for side in drift(version, reference).values():
            assert side.norm_ratio == pytest.approx(factor)
            assert side.norm_agreement == pytest.approx(0.25)
            assert side.covariance_distance == pytest.approx(abs(factor**2 - 1))


def test_the_distance_is_of_the_whole_side_whatever_its_parts(
    tmp_path: Path, served_world: SmallWorld, reference: Version
) -> None:
    turn = np.roll(np.eye(8), 1, axis=0)
    version = altered_version(served_world, tmp_path, lambda one: one @ turn)
    found = drift(version, reference)["user"]
    tables = [reference.shard(one, "user").vectors for one in reference.manifest.parts("user")]
    users = np.concatenate(tables).astype(np.float64)
    want = users.T @ users / len(users)
    distance = np.linalg.norm(turn.T @ want @ turn - want) / np.linalg.norm(want)
    assert len(tables) > 1
    assert found.norm_ratio == pytest.approx(1)
    assert found.covariance_distance == pytest.approx(distance)
