"""A home that cannot hold a workspace is one clear message that says what to do."""

import errno
import os
import re
import sqlite3
import sys
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy.exc import OperationalError

from assets.workspace import Workspace, WorkspaceConfig
from marquee.cli import describe, main
from marquee.errors import RunFailedError
from marquee.runs import Orchestrator
from marquee.settings import CHECKOUT, Settings

CONFIG = WorkspaceConfig(
    source="simulated",
    source_parameters={},
    first_day=date(2026, 1, 30),
    last_day=date(2026, 2, 3),
    recipe="tiny",
)


@pytest.mark.parametrize(
    ("given", "home"),
    [
        ("/far/away", Path("/far/away")),
        ("near", Path.cwd() / "near"),
        ("~/near", Path.home() / "near"),
        ("", CHECKOUT / ".marquee"),
    ],
)
def test_the_home_is_absolute(monkeypatch: pytest.MonkeyPatch, given: str, home: Path) -> None:
    monkeypatch.setenv("MARQUEE_HOME", given)
    assert Settings().home == home


def test_a_missing_home_is_made(tmp_path: Path) -> None:
    assert Workspace.create(tmp_path / "not" / "yet" / "world", CONFIG).root.is_dir()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "no space left on .*: free some and run the same command again"),
        (errno.EROFS, "cannot write to .*: Read-only file system: set MARQUEE_HOME"),
        (errno.EACCES, "no permission for .*: give this user access, or set MARQUEE_HOME"),
        (errno.ENOTDIR, "cannot write to .*: Not a directory: set MARQUEE_HOME"),
    ],
)
def test_a_demo_that_cannot_write_says_what_helps(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    said: str,
) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("lake.atomic._write_synced", refuse)
    monkeypatch.setenv("MARQUEE_HOME", str(tmp_path))
    monkeypatch.setenv("MARQUEE_WORKSPACE", "")
    monkeypatch.setattr(sys, "argv", ["marquee", "demo", "--workspace", "world"])
    assert main() == 1
    assert re.match(f"error: {said}", capsys.readouterr().err)
    assert not list((tmp_path / "world").iterdir())


def test_a_home_below_a_file_says_what_helps(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as caught:
        Workspace.open(tmp_path / "file" / "world")
    assert "set MARQUEE_HOME to a folder" in describe(caught.value)


def test_a_full_disk_below_the_orchestrator_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Job:
        def execute_in_process(self, **given: object) -> None:
            cause = sqlite3.OperationalError("database or disk is full")
            raise OperationalError("insert", {}, cause)

    class Definitions:
        def resolve_job_def(self, name: str) -> Job:
            return Job()

    for name in ("DAGSTER_HOME", "MARQUEE_WORKSPACE"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(Orchestrator, "_definitions", Definitions())
    monkeypatch.setattr(Orchestrator, "_instance", dg.DagsterInstance.ephemeral())
    monkeypatch.setattr(Orchestrator, "_check", lambda *given: None)
    workspace = Workspace.create(tmp_path / "world", CONFIG)
    with pytest.raises(RunFailedError, match="disk is full\nWhat was published stays") as caught:
        Orchestrator(workspace).run("ingestion", "2026-01-30")
    assert str(workspace.root / "dagster") in str(caught.value)
