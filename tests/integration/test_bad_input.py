"""Bad input gets one clear message that says what to do, and a non-zero exit."""

import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import Run, Survived


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "--workspace", "nowhere"], "`make demo` makes one"),
        (["status", "--workspace", "../up"], "want the plain name"),
        (["demo", "--source", "nothing", "--workspace", "a"], "want simulated, kuairand, parquet"),
        (["demo", "--source", "kuairand", "--workspace", "b"], "needs --data FOLDER"),
        (["lookup", "u1", "--workspace", "nowhere"], "no workspace at"),
        (["doctor", "--workspace", "nowhere"], "no workspace at"),
        (["rollback", "--to", "x"], "--to"),
    ],
)
def test_a_wrong_argument_is_explained(marquee: Run, arguments: list[str], message: str) -> None:
    explained(marquee(*arguments), message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "2026-02-30"], "has the partitions 2026-01-30 to 2026-02-03"),
        (["run", "2026-02-03", "--job", "nothing"], "want one of daily_refresh"),
        (["similar", "nothing"], "no item 'nothing'"),
        (["lookup", "[/red]"], "no history in v3"),
        (["evaluate", "2026-02-31", "2026-03-01"], "want a day as YYYY-MM-DD, got '2026-02-31'"),
        (["evaluate", "2026-02-04", "2026-02-09"], "2026-02-04, 2026-02-05, 2026-02-06 and 3 more"),
        (["lookup", ""], "want an id in UTF-8"),
        (["rollback", "--to", "99"], "v99"),
    ],
)
def test_a_wrong_argument_for_a_workspace_is_explained(
    survived: Survived, marquee: Run, arguments: list[str], message: str
) -> None:
    explained(marquee(*arguments, "--workspace", survived.workspace.root.name), message)


def explained(done: "subprocess.CompletedProcess[str]", message: str) -> None:
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_folder_without_the_files_is_named(marquee: Run, tmp_path: Path) -> None:
    done = marquee(
        "demo", "--source", "kuairand", "--data", str(tmp_path), "--workspace", "empty-folder"
    )
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


def test_help_is_there_for_every_command(marquee: Run) -> None:
    commands = ["demo", "run", "evaluate", "status", "versions", "lookup", "recommend", "similar"]
    commands += ["rollback", "promote", "retire", "republish", "reconcile", "doctor"]
    listed = marquee("--help").stdout
    assert all(command in listed for command in commands)
    shown = marquee("lookup", "--help")
    assert shown.returncode == 0
    assert "--workspace" in shown.stdout
