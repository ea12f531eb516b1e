"""A workspace that serves two published days, and the command line over it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from assets.workspace import Workspace, WorkspaceConfig
from feature_repo.projection import reconcile
from marquee.cli import main
from tests.unit.embedding_store.small_world import SmallWorld

NAME = "small"


@dataclass(frozen=True)
class Answer:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str


Marquee = Callable[..., Answer]


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    """Two versions, the second one stable, projected."""
    world = SmallWorld(tmp_path / NAME)
    world.serve(0, 1)
    reconcile(world.folder)
    return world


@pytest.fixture
def workspace(world: SmallWorld) -> Workspace:
    config = WorkspaceConfig(
        source="simulated",
        source_parameters={},
        first_day=date(2024, 3, 1),
        last_day=date(2024, 3, 9),
        recipe="tiny",
    )
    return Workspace.create(world.folder, config)


@pytest.fixture
def marquee(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Marquee:
    """Run a command in this process."""
    monkeypatch.setenv("MARQUEE_HOME", str(workspace.root.parent))
    monkeypatch.setenv("MARQUEE_WORKSPACE", "set by the command line, undone by the test")

    def run(*arguments: str, name: str = NAME) -> Answer:
        monkeypatch.setattr(sys, "argv", ["marquee", *arguments, "--workspace", name])
        status = main()
        printed = capsys.readouterr()
        return Answer(status, " ".join(printed.out.split()), printed.err)

    return run
