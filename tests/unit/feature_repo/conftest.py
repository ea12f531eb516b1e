from pathlib import Path

import pytest

from feature_repo.projection import reconcile
from tests.unit.feature_repo.small_world import SmallWorld, instant


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    return SmallWorld(tmp_path)


@pytest.fixture
def served(world: SmallWorld) -> SmallWorld:
    """One version, stable and projected."""
    world.publish(1)
    world.promote(1, at=instant(2))
    reconcile(world.root)
    return world
