"""A file that a crash or a person damaged is one clear message and a non-zero exit."""

import sys
from datetime import date
from pathlib import Path

import pytest

from assets.workspace import Workspace, WorkspaceConfig
from lake.lake import Step, Written
from marquee.cli import main


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("MARQUEE_HOME", str(tmp_path))
    monkeypatch.setenv("MARQUEE_WORKSPACE", "")  # so that what a command sets does not stay
    config = WorkspaceConfig(
        source="simulated",
        source_parameters={},
        first_day=date(2026, 1, 30),
        last_day=date(2026, 2, 3),
        recipe="tiny",
    )
    return Workspace.create(tmp_path / "world", config)


def explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> str:
    """Return what a command that fails as it should says, on one line."""
    monkeypatch.setattr(sys, "argv", ["marquee", *arguments, "--workspace", "world"])
    assert main() == 1
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    return " ".join((said.out + said.err).split())


@pytest.mark.parametrize("command", ["status", "versions", "doctor", "demo", "reconcile"])
def test_a_broken_workspace_file(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    (workspace.root / "workspace.json").write_text('{"format_version": 1, "sou')
    said = explained(monkeypatch, capsys, command)
    assert "workspace.json: want JSON" in said
    assert "restore it" in said


@pytest.mark.parametrize("command", ["status", "versions", "rollback", "reconcile", "doctor"])
def test_a_truncated_log_entry(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    (workspace.root / "store" / "log").mkdir(parents=True)
    (workspace.root / "store" / "log" / "00000000000000000001.json").write_text('{"seq": 1, "bo')
    said = explained(monkeypatch, capsys, command)
    assert "store/log/00000000000000000001.json" in said.replace(" ", "")
    assert "restore it from a copy of the log" in said


def test_a_truncated_reference(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(folder: Path) -> Written:
        (folder / "data").touch()
        return Written(rows=1)

    step = Step(asset="catalogue", partition="2026-01-30", schema_id="s/1", as_of="", code="c")
    workspace.lake.build(step, write)
    (workspace.lake.root / "refs" / "catalogue" / "2026-01-30.json").write_text('{"asset": "cata')
    said = explained(monkeypatch, capsys, "doctor")
    assert "refs/catalogue/2026-01-30.json" in said.replace(" ", "")
    assert "run the partition again" in said
