import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from assets.workspace import Workspace
from feature_repo.folder import FeastFolder
from marquee.errors import CommandError
from marquee.ui import (
    DAGSTER_PORT,
    FEAST_PORT,
    MLFLOW_PORT,
    PAGES_PORT,
    Ports,
    Server,
    _require_alive,
    _running,
    _signals_as_interrupt,
    require_free,
    servers_of,
)
from marquee.worlds import simulated


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Return a workspace that nothing was written to."""
    return Workspace.create(tmp_path / "w", simulated())


def sleeper(folder: Path, code: str = "import time; time.sleep(60)") -> Server:
    return Server(
        name="Feast",
        port=1,
        command=[sys.executable, "-c", code],
        folder=folder,
        log=folder / "log",
    )


def test_the_servers_listen_where_the_pages_link_to() -> None:
    assert (DAGSTER_PORT, MLFLOW_PORT, FEAST_PORT, PAGES_PORT) == (3000, 5000, 8888, 3080)


def test_what_nothing_was_written_to_is_not_served(workspace: Workspace) -> None:
    assert [one.name for one in servers_of(workspace, Ports())] == ["Dagster", "pages"]

    FeastFolder.of(workspace.root).prepare()

    assert [one.name for one in servers_of(workspace, Ports())] == ["Dagster", "Feast", "pages"]


def test_nothing_listens_beyond_this_machine(workspace: Workspace) -> None:
    workspace.mlflow_dir.mkdir()
    (workspace.mlflow_dir / "mlflow.db").touch()
    FeastFolder.of(workspace.root).prepare()

    servers = servers_of(workspace, Ports())

    assert len(servers) == 4
    assert all("127.0.0.1" in one.command for one in servers)


def test_a_taken_port_names_the_option_that_chooses_another(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(CommandError, match=rf"port {port}, where Feast would .* --feast-port"):
            require_free(replace(sleeper(tmp_path), port=port))

    require_free(replace(sleeper(tmp_path), port=port))


def test_a_server_that_ends_is_told_with_its_log(tmp_path: Path) -> None:
    server = sleeper(tmp_path, "raise SystemExit(3)")
    with _running([server]) as running:
        running["Feast"].wait(30)
        with pytest.raises(CommandError, match=r"Feast ended with status 3: see .*log"):
            _require_alive([server], running)


def test_an_impatient_second_interrupt_does_not_stop_the_stopping() -> None:
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    with _signals_as_interrupt():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)

    assert {one: signal.getsignal(one) for one in before} == before


def test_what_a_server_started_ends_with_it(tmp_path: Path) -> None:
    child = tmp_path / "child"
    code = (
        "import pathlib, subprocess, sys, time\n"
        "one = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(child)!r}).write_text(str(one.pid))\n"
        "time.sleep(60)"
    )
    with _running([sleeper(tmp_path, code)]):
        while not child.exists() or not child.read_text():
            time.sleep(0.05)
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", child.read_text()], capture_output=True, text=True, check=False
    ).stdout.strip()

    assert state[:1] in {"", "Z"}  # gone, or waiting for its parent to notice
