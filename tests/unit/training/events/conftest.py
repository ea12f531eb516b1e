import os
from pathlib import Path

import pytest


def _measured(name: str) -> Path:
    """Return the folder of a data set, which is never part of the repository."""
    root = Path(__file__).parents[4]
    data = Path(os.environ.get("MARQUEE_DATA", root.parent / "shared" / "data"))
    folder = data / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not at {folder}; set MARQUEE_DATA to the folder of the data")
    return folder


@pytest.fixture(scope="session")
def kuairand_folder() -> Path:
    return _measured("kuairand-pure")


@pytest.fixture(scope="session")
def movielens_folder() -> Path:
    return _measured("ml-1m")


@pytest.fixture(scope="session")
def movietweetings_folder() -> Path:
    return _measured("movietweetings-141k")
