import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from assets.workspace import Workspace, WorkspaceConfig

OPEN = """
import sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import dagster
from assets.workspace import Workspace
from marquee.runs import Orchestrator
orchestrator = Orchestrator(Workspace.open(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
orchestrator._instance
"""


def test_processes_that_open_a_fresh_home_at_once_leave_it_whole(tmp_path: Path) -> None:
    config = WorkspaceConfig(
        source="simulated",
        source_parameters={},
        first_day=date(2026, 1, 30),
        last_day=date(2026, 2, 3),
        recipe="tiny",
    )
    root = Workspace.create(tmp_path / "world", config).root
    command = [sys.executable, "-c", OPEN, str(root)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]  # type: ignore[call-overload]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    again = subprocess.run(command, input="go\n", text=True, check=False, capture_output=True)
    assert again.returncode == 0, again.stderr


SIX_DAYS = WorkspaceConfig(
    source="simulated",
    source_parameters={
        "num_users": 60,
        "num_titles": 100,
        "first_day": "2026-01-01",
        "num_days": 6,
    },
    first_day=date(2026, 1, 1),
    last_day=date(2026, 1, 6),
    recipe="tiny",
)

KILLED = """
import os, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import dagster
from assets import backfill
from assets.workspace import Workspace
from marquee.runs import Orchestrator
backfill.build_day = lambda *_, **__: os.kill(os.getpid(), 9)
Orchestrator(Workspace.open(Path(sys.argv[1]))).ingest("2026-01-01", "2026-01-01")
"""


def test_a_run_that_ended_with_a_killed_command_is_told_as_failed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Workspace.create(tmp_path / "world", SIX_DAYS).root
    killed = subprocess.run([sys.executable, "-c", KILLED, str(root)], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    monkeypatch.setenv("DAGSTER_HOME", str(root / "dagster"))
    with dg.DagsterInstance.get() as instance:
        assert [run.status.value for run in instance.get_runs()] == ["STARTED"]

    command = [sys.executable, "-m", "marquee", "run", "2026-01-01", "--job", "ingestion"]
    subprocess.run(
        [*command, "--workspace", "world"],
        env={**os.environ, "MARQUEE_HOME": str(tmp_path)},
        check=True,
        timeout=120,
    )

    with dg.DagsterInstance.get() as instance:
        ends = {run.job_name: run.status.value for run in instance.get_runs()}
    assert ends == {"ingestion": "SUCCESS", "ingestion_of_days": "FAILURE"}


def test_days_are_taken_in_by_one_run_with_few_lines(tmp_path: Path) -> None:
    Workspace.create(tmp_path / "world", SIX_DAYS)

    def run(first: str, last: str, *more: str) -> "subprocess.CompletedProcess[str]":
        arguments = ["run", first, "--through", last, "--workspace", "world", *more]
        return subprocess.run(
            [sys.executable, "-m", "marquee", *arguments],
            env={**os.environ, "MARQUEE_HOME": str(tmp_path)},
            text=True,
            check=False,
            capture_output=True,
        )

    done = run("2026-01-01", "2026-01-06", "--job", "ingestion")
    assert done.returncode == 0, done.stderr
    told = [line.split("  ")[2] for line in done.stdout.splitlines()]
    assert told == ["2026-01-01 to 2026-01-05", "2026-01-06 to 2026-01-06"]

    again = run("2026-01-01", "2026-01-06", "--job", "ingestion")
    assert again.returncode == 0
    assert again.stdout.endswith(" artifacts were there already\n"), again.stdout

    refused = run("2026-01-02", "2026-01-01", "--job", "ingestion")
    assert "want days in order, got 2026-01-02 to 2026-01-01" in refused.stderr
    refused = run("2026-01-02", "2026-01-09", "--job", "ingestion")
    assert "has the partitions 2026-01-01 to 2026-01-06; got '2026-01-09'" in refused.stderr
    refused = run("2026-01-02", "2026-01-03")
    assert "--through goes with --job ingestion, got --job daily_refresh" in refused.stderr
