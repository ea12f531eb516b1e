"""One tiny world, replayed once for all tests of this folder."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from assets.workspace import Workspace, WorkspaceConfig

ROOT = Path(__file__).resolve().parents[2]
NAME = "tiny"
USERS = 300

Run = Callable[..., subprocess.CompletedProcess[str]]


def tiny_world(first: date = date(2026, 1, 26)) -> WorkspaceConfig:
    last = date(2026, 2, 3)
    return WorkspaceConfig(
        source="simulated",
        source_parameters={
            "num_users": USERS,
            "num_titles": 120,
            "first_day": first.isoformat(),
            "num_days": (last - first).days + 1,
        },
        first_day=first,
        last_day=last,
        recipe="tiny",
        # a model of seconds drifts and errs more than one that is served
        quality_margin=0.5,
        min_similarity=-1.0,
    )


def marquee_command(home: Path) -> Run:
    """Return a runner of the command line over ``home``."""

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "marquee", *arguments],
            cwd=ROOT,
            env={**os.environ, "MARQUEE_HOME": str(home), "COLUMNS": "200", **changes},
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )

    return run


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def marquee(home: Path) -> Run:
    return marquee_command(home)


@pytest.fixture(scope="session")
def replayed(home: Path) -> tuple[Workspace, str]:
    """Return the workspace after one replay, and what the replay printed."""
    workspace = Workspace.create(home / NAME, tiny_world())
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.replay", str(workspace.root)],
        cwd=ROOT,
        env={**os.environ, "MARQUEE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace, done.stdout
