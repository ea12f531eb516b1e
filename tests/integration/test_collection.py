"""A year later: what is collected of a world that was served, and that nothing misses it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assets.workspace import Workspace
from tests.integration.conftest import ROOT, Run, Survived
from tests.integration.test_erasure import references

# what each kind of thing is kept for is told by the unit tests; a whole world takes a minute more
pytestmark = pytest.mark.prove

NAME = "collected"

A_YEAR_LATER = """
import sys, warnings
warnings.simplefilter("ignore")
from datetime import UTC, datetime, timedelta
from pathlib import Path
from rich.console import Console
from assets.workspace import Workspace
from marquee.collection import collect_garbage
workspace, is_rehearsal = Workspace.open(Path(sys.argv[1])), sys.argv[2] == "rehearsal"
now = datetime.now(UTC) + timedelta(days=365)
collect_garbage(workspace, Console(width=100), now=now, is_rehearsal=is_rehearsal)
"""


@pytest.fixture(scope="module")
def world(survived: Survived, home: Path) -> Workspace:
    """A copy: other tests look at the world as it was."""
    shutil.copytree(survived.workspace.root, home / NAME)
    return Workspace.open(home / NAME)


def a_year_later(world: Workspace, how: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", A_YEAR_LATER, str(world.root), how],
        cwd=ROOT,
        env={**os.environ, "DAGSTER_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(world: Workspace, *folders: str) -> set[str]:
    return {
        path.relative_to(world.root).as_posix()
        for folder in folders
        for path in (world.root / folder).rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def test_what_is_collected_is_missed_by_nothing(world: Workspace, marquee: Run) -> None:
    last, standing = world.config.last_day.isoformat(), references(world)
    kept = files(world, "lake", "store", "mlflow/artifacts")

    assert "nothing to collect" in marquee("gc", "--dry-run", "--workspace", NAME).stdout
    told = a_year_later(world, "rehearsal")
    assert "runs of Dagster" in told
    assert files(world, "lake", "store", "mlflow/artifacts") == kept
    assert a_year_later(world) + "a rehearsal: nothing was removed\n" == told
    assert "nothing to collect" in a_year_later(world)

    assert references(world) == standing
    assert files(world, "store") == {name for name in kept if name.startswith("store")}
    state = world.store.state()
    for model in state.models:
        assert world.lake.folder(model.uri).is_dir()
    assert marquee("doctor", "--workspace", NAME).returncode == 0
    again = marquee("run", last, "--workspace", NAME)
    assert again.returncode == 0, again.stderr
    back = marquee("rollback", "--workspace", NAME)
    assert back.returncode == 0, back.stderr
    assert references(world) == standing
