"""The servers that people look at, over one workspace, each on a loopback address.

::

    marquee ui ─┬─ Dagster  assets, their pictures and checks, runs, lineage
                ├─ MLflow   training runs, their curves, the registered models
                ├─ Feast    feature views, services, entities and their sources
                └─ pages    the pictures and data docs that Dagster's pages link to

Each is its tool's own command in a session of its own, so that Ctrl-C reaches this process alone,
which then stops every process that they started.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from rich.console import Console

from assets.pages import PAGES_URL, pages_folder
from assets.tracking import DEFAULT_BASE_URL, tracking_uri
from assets.workspace import Workspace
from lake.lock import exclusive_lock
from marquee.errors import CommandError
from marquee.pages_server import HOST
from marquee.runs import LOCATION, Orchestrator
from marquee.settings import CHECKOUT

DAGSTER_PORT = 3000
MLFLOW_PORT = urlsplit(DEFAULT_BASE_URL).port or 0
PAGES_PORT = urlsplit(PAGES_URL).port or 0
FEAST_PORT = 8888

_LISTEN = ("--host", HOST, "--port")
_START_S = 180.0
"""Every server must answer within this time: they import for half a minute on a busy machine."""
_STOP_S = 20.0
_POLL_S = 0.3
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server: the command that starts it, and the page that shows that it answers."""

    name: str
    port: int
    command: Sequence[str]
    folder: Path
    """Where the command runs."""

    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    alive: str = "/"
    """Path that answers once the server is up."""

    page: str = "/"
    """Path that a person opens first."""

    @property
    def address(self) -> str:
        """Where a person opens it."""
        return f"http://{HOST}:{self.port}{self.page}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The port of each server."""

    dagster: int = DAGSTER_PORT
    mlflow: int = MLFLOW_PORT
    feast: int = FEAST_PORT
    pages: int = PAGES_PORT


def serve(workspace: Workspace, ports: Ports, console: Console) -> None:
    """Start every server, print the addresses once all answer, and stop all on Ctrl-C.

    Raises CommandError when a port is taken, or a server ends by itself, and WorkspaceBusyError
    when the workspace is served already: its schedules would run twice.
    """
    servers = servers_of(workspace, ports)
    for server in servers:
        require_free(server)
    what = f"`marquee ui` over workspace {workspace.root.name}"
    with exclusive_lock(workspace.root / "logs" / "ui.lock", what=what):
        Orchestrator(workspace).prepare()
        pages_folder(workspace.root).mkdir(parents=True, exist_ok=True)
        console.print(f"starting over workspace {workspace.root.name} …")
        with asked_to_end() as asked, _running(servers) as running:
            if _await_answers(servers, running, asked):
                _tell(servers, workspace, console)
            while not asked:
                _require_alive(servers, running)
                time.sleep(_POLL_S)
            console.print("stopping …")


def servers_of(workspace: Workspace, ports: Ports) -> list[Server]:
    """Return the servers of a workspace; what nothing was written to yet is left out."""
    has_tracked = (workspace.mlflow_dir / "mlflow.db").exists()
    has_served = (workspace.feast_dir / "feature_store.yaml").exists()
    return [
        _dagster(workspace, ports.dagster),
        *([_mlflow(workspace, ports.mlflow)] if has_tracked else []),
        *([_feast(workspace, ports.feast)] if has_served else []),
        _pages(workspace, ports.pages),
    ]


def _dagster(workspace: Workspace, port: int) -> Server:
    return Server(
        name="Dagster",
        port=port,
        command=[
            *(sys.executable, "-m", "dagster", "dev", "--module-name", LOCATION),
            *(*_LISTEN, str(port)),
        ],
        folder=CHECKOUT,
        log=_log(workspace, "dagster"),
        environment={
            "MARQUEE_WORKSPACE": str(workspace.root),
            "DAGSTER_HOME": str(workspace.root / "dagster"),
        },
        alive="/server_info",
        page="/asset-groups",
    )


def _mlflow(workspace: Workspace, port: int) -> Server:
    return Server(
        name="MLflow",
        port=port,
        command=[
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--no-serve-artifacts"),
            *("--backend-store-uri", tracking_uri(workspace.mlflow_dir)),
            *("--default-artifact-root", (workspace.mlflow_dir / "artifacts").resolve().as_uri()),
            *(*_LISTEN, str(port)),
        ],
        folder=workspace.mlflow_dir,
        log=_log(workspace, "mlflow"),
        # its queue of jobs serves language models alone
        environment={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        alive="/health",
        page="/#/experiments?workflowType=machine_learning",
    )


def _feast(workspace: Workspace, port: int) -> Server:
    return Server(
        name="Feast",
        port=port,
        command=[sys.executable, "-m", "feast.cli.cli", "ui", *_LISTEN, str(port)],
        folder=workspace.feast_dir,
        log=_log(workspace, "feast"),
        environment={"FEAST_USAGE": "false"},
    )


def _pages(workspace: Workspace, port: int) -> Server:
    return Server(
        name="pages",
        port=port,
        command=[
            *(sys.executable, "-m", "marquee.pages_server"),
            *(str(pages_folder(workspace.root)), str(port)),
        ],
        folder=CHECKOUT,
        log=_log(workspace, "pages"),
    )


def _log(workspace: Workspace, name: str) -> Path:
    return workspace.root / "logs" / f"ui-{name}.log"


def require_free(server: Server) -> None:
    """Raise CommandError when something listens on the server's port already."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, server.port))
        except OSError as error:
            raise CommandError(
                f"port {server.port}, where {server.name} would listen, cannot be used "
                f"({error.strerror}): stop what listens there, or name another with "
                f"--{server.name.lower()}-port"
            ) from error


@contextmanager
def _running(servers: Sequence[Server]) -> "Iterator[Mapping[str, subprocess.Popen[bytes]]]":
    """Run servers, by name, and end them with all that they started."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for server in servers:
            running[server.name] = _start(server)
        yield running
    finally:
        _stop(list(running.values()))


def _start(server: Server) -> "subprocess.Popen[bytes]":
    server.log.parent.mkdir(parents=True, exist_ok=True)
    with server.log.open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own commands
            server.command,
            cwd=server.folder,
            env={**os.environ, **server.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _stop(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    """End whole sessions at the same time: those that do not go when asked are killed."""
    deadline = time.monotonic() + _STOP_S
    for process in processes:
        _signal(process, signal.SIGTERM)
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _await_answers(
    servers: Sequence[Server],
    running: "Mapping[str, subprocess.Popen[bytes]]",
    asked: Collection[int],
) -> bool:
    """Return whether all answer: not where this process was asked to end first."""
    deadline = time.monotonic() + _START_S
    waiting = list(servers)
    while waiting and not asked:
        _require_alive(servers, running)
        waiting = [one for one in waiting if not _answers(one)]
        if waiting and time.monotonic() > deadline:
            raise CommandError(
                f"{waiting[0].name} does not answer after {_START_S:.0f} s: see {waiting[0].log}"
            )
        time.sleep(_POLL_S if waiting else 0)
    return not waiting


def _answers(server: Server) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://{HOST}:{server.port}{server.alive}", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _require_alive(
    servers: Sequence[Server], running: "Mapping[str, subprocess.Popen[bytes]]"
) -> None:
    for server in servers:
        if (code := running[server.name].poll()) is not None:
            raise CommandError(f"{server.name} ended with status {code}: see {server.log}")


def _tell(servers: Sequence[Server], workspace: Workspace, console: Console) -> None:
    for server in servers:
        console.print(f"  {server.name:<8} {server.address}", soft_wrap=True, highlight=False)
    names = {server.name for server in servers}
    for name, lacks in (("MLflow", "trained"), ("Feast", "published")):
        if name not in names:
            console.print(f"  {name:<8} not started: nothing is {lacks} yet")
    console.print(f"logs: {workspace.root / 'logs'}/ui-*.log; Ctrl-C stops all", soft_wrap=True)


@contextmanager
def asked_to_end() -> Iterator[list[int]]:
    """Yield the signals that came: Ctrl-C, being asked to end, and a terminal that closes.

    They raise nothing: an impatient second one would leave servers that were about to be stopped,
    and one in the midst of a start a server that nobody knows of.
    """
    came: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        came.append(number)

    before = {one: signal.signal(one, end) for one in _ENDINGS}
    try:
        yield came
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
