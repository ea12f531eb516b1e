import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from training.events.simulated import SimulatedWorld
from training.events.world import WorldParameters

ALL_ARRIVED = datetime(2100, 1, 1, tzinfo=UTC)
SMALL = WorldParameters(num_users=400, num_titles=200, num_days=12)


@pytest.fixture(scope="session")
def world() -> SimulatedWorld:
    """A small world with all defects."""
    return SimulatedWorld(SMALL)


@pytest.fixture(scope="session")
def kuairand_folder() -> Path:
    """The measured data set, never part of the repository."""
    root = Path(__file__).parents[4]
    data = Path(os.environ.get("MARQUEE_DATA", root.parent / "shared" / "data"))
    folder = data / "kuairand-pure"
    if not folder.is_dir():
        pytest.skip(f"KuaiRand-Pure is not at {folder}; set MARQUEE_DATA to the folder of the data")
    return folder
