"""The tiny world that the tests of the lifecycle and of the docs share, made once a session."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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
