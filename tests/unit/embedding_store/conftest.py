from pathlib import Path

import pytest

from tests.unit.embedding_store.small_world import SmallWorld


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    return SmallWorld(tmp_path)


@pytest.fixture(scope="module")
def served_world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    """Three days, published and promoted; read-only."""
    world = SmallWorld(tmp_path_factory.mktemp("served"))
    world.serve(0, 1, 2)
    return world
