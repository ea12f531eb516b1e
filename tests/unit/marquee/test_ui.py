import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from threading import Timer

import pytest
from rich.console import Console

from assets.workspace import Workspace
from feature_repo.folder import FeastFolder
from lake.errors import WorkspaceBusyError
from lake.lock import exclusive_lock
from marquee.errors import CommandError
from marquee.pages_server import pages_server
from marquee.ui import (
    DAGSTER_PORT,
    FEAST_PORT,
    MLFLOW_PORT,
    PAGES_PORT,
    Ports,
    Server,
    _require_alive,
    _running,
    asked_to_end,
    require_free,
    serve,
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


def test_nothing_listens_beyond_this_machine(workspace: Workspace, tmp_path: Path) -> None:
    workspace.mlflow_dir.mkdir()
    (workspace.mlflow_dir / "mlflow.db").touch()
    FeastFolder.of(workspace.root).prepare()

    servers = servers_of(workspace, Ports())

    assert len(servers) == 4
    assert all("127.0.0.1" in one.command for one in servers[:3])
    with pages_server(tmp_path, 0) as pages:
        assert pages.server_address[0] == "127.0.0.1"


def test_a_taken_port_names_the_option_that_chooses_another(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(CommandError, match=rf"port {port}, where Feast would .* --feast-port"):
            require_free(replace(sleeper(tmp_path), port=port))

    require_free(replace(sleeper(tmp_path), port=port))


def test_an_impatient_second_signal_leaves_no_server(tmp_path: Path) -> None:
    """The server takes its time to end; meanwhile Ctrl-C comes again."""
    pid = tmp_path / "pid"
    code = (
        "import os, pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(2), sys.exit()))\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(60)"
    )
    with asked_to_end() as asked, _running([sleeper(tmp_path, code)]):
        while not pid.exists() or not pid.read_text():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        again = Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        again.start()
    again.join()

    assert asked == [signal.SIGINT, signal.SIGINT]
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_workspace_is_served_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """On other ports too: two daemons over one home would each run its schedules."""
    monkeypatch.setattr("marquee.ui.require_free", lambda server: None)
    with (
        exclusive_lock(workspace.root / "logs" / "ui.lock", what="another"),
        pytest.raises(WorkspaceBusyError, match=r"`marquee ui` over workspace w is in use by"),
    ):
        serve(workspace, Ports(), Console())


def test_a_server_that_ends_is_told_with_its_log(tmp_path: Path) -> None:
    server = sleeper(tmp_path, "raise SystemExit(3)")
    with _running([server]) as running:
        running["Feast"].wait(30)
        with pytest.raises(CommandError, match=r"Feast ended with status 3: see .*log"):
            _require_alive([server], running)


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
