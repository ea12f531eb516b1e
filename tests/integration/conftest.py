"""One tiny world for all tests of this folder: killed three times, then replayed to its end."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from assets.workspace import Workspace, WorkspaceConfig
from tests.integration.crashes import (
    TIMEOUT_S,
    is_inferring,
    is_pretraining,
    is_publishing,
    kill_when,
    polling_reader,
    start,
)

ROOT = Path(__file__).resolve().parents[2]
NAME = "tiny"
USERS = 300

Run = Callable[..., subprocess.CompletedProcess[str]]


def tiny_world() -> WorkspaceConfig:
    first, last = date(2026, 1, 30), date(2026, 2, 3)
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
        quality_margin=10.0,
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


@dataclass(frozen=True)
class Survived:
    """A world whose replay was killed three times and then run to its end."""

    workspace: Workspace
    output: str
    """What the last run printed."""
    seen: list[str]
    """Versions that a consumer saw meanwhile, in order."""
    assets_after_first_kill: set[str]


def survive(home: Path) -> Survived:
    """Return the tiny world after kills in pretraining, in inference and in publication."""
    workspace = Workspace.create(home / NAME, tiny_world())
    root = workspace.root
    with polling_reader(root) as seen:
        kill_when(root, is_pretraining)
        assets = {folder.name for folder in (root / "lake" / "refs").iterdir()}
        kill_when(root, is_inferring)
        kill_when(root, is_publishing)
        process = start(root)
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, output
    return Survived(workspace, output, seen, assets)
