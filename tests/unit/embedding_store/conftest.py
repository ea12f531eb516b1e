from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.s3_server import BUCKET
from tests.unit.embedding_store.small_world import SmallWorld


@pytest.fixture(scope="session")
def bucket(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The bucket that every store of these suites lies in, with ``--storage s3``."""
    if request.config.getoption("--storage") == "disk":
        yield None
        return
    with pytest.MonkeyPatch.context() as environment:
        for name, value in request.getfixturevalue("s3_environment").items():
            environment.setenv(name, value)
        yield f"s3://{BUCKET}"


@pytest.fixture
def world(tmp_path: Path, bucket: str | None) -> SmallWorld:
    return SmallWorld(tmp_path, bucket=bucket)


@pytest.fixture(scope="module")
def served_world(tmp_path_factory: pytest.TempPathFactory, bucket: str | None) -> SmallWorld:
    """Three days, published and promoted; read-only."""
    world = SmallWorld(tmp_path_factory.mktemp("served"), bucket=bucket)
    world.serve(0, 1, 2)
    return world
