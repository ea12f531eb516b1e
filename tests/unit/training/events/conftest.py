import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def kuairand_folder() -> Path:
    """The measured data set, never part of the repository."""
    root = Path(__file__).parents[4]
    data = Path(os.environ.get("MARQUEE_DATA", root.parent / "shared" / "data"))
    folder = data / "kuairand-pure"
    if not folder.is_dir():
        pytest.skip(f"KuaiRand-Pure is not at {folder}; set MARQUEE_DATA to the folder of the data")
    return folder
