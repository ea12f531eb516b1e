"""`marquee ui` with its real servers on free ports, over a workspace with a day taken in."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from assets.tracking import mlflow_run
from assets.workspace import Workspace
from feature_repo.folder import FeastFolder
from tests.integration.conftest import NAME, ROOT, marquee_command, tiny_world

DAY = "2026-01-30"
SERVERS = ("dagster", "mlflow", "feast", "pages")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

RUNS_OF_A_JOB = """
query ($job: String!, $location: String!) {
  pipelineOrError(params: {
    pipelineName: $job, repositoryName: "__repository__", repositoryLocationName: $location
  }) { ... on Pipeline { runs(limit: 5) { status } } }
}
"""
LAST_MATERIALIZATION = """
query ($asset: [String!]!) {
  assetOrError(assetKey: {path: $asset}) { ... on Asset {
    assetMaterializations(limit: 1) { partition metadataEntries {
      label __typename ... on MarkdownMetadataEntry { mdStr }
    } }
  } }
}
"""


def free_ports() -> dict[str, int]:
    sockets = [socket.socket() for _ in SERVERS]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = {name: one.getsockname()[1] for name, one in zip(SERVERS, sockets, strict=True)}
    for one in sockets:
        one.close()
    return ports


def ui_command(ports: dict[str, int]) -> list[str]:
    chosen = [f"--{name}-port={port}" for name, port in ports.items()]
    return [sys.executable, "-m", "marquee", "ui", "--workspace", NAME, *chosen]


def get(port: int, path: str = "/") -> str:
    with DIRECT.open(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        text: str = answer.read().decode()
        return text


def ask(port: int, query: str, **variables: Any) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": query, "variables": variables}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with DIRECT.open(request, timeout=30) as answer:
        return json.loads(answer.read())["data"]


def processes_of(home: Path) -> list[str]:
    """Return the command lines of the processes that were told of ``home``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended meanwhile
        if str(home) in line:
            found.append(line)
    return found


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with one day taken in, a training run and a feature registry."""
    home = tmp_path_factory.mktemp("ui")
    made = Workspace.create(home / NAME, tiny_world())
    done = marquee_command(home)("run", DAY, "--job", "ingestion", "--workspace", NAME)
    assert done.returncode == 0, done.stderr
    with mlflow_run(made.mlflow_dir, "marquee", "a run", parameters={}, inputs=[]) as (tracker, _):
        tracker.log_metrics({"loss": 1.0}, step=0)
    FeastFolder.of(made.root).prepare()
    return made


@pytest.fixture(scope="module")
def ports(workspace: Workspace) -> Iterator[dict[str, int]]:
    """Return the ports of the running servers; afterwards none of their processes is left."""
    chosen, home = free_ports(), workspace.root.parent
    process = subprocess.Popen(
        ui_command(chosen),
        cwd=ROOT,
        env={**os.environ, "MARQUEE_HOME": str(home), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with closing(process.stdout) as output:
        lines: list[str] = []
        for line in output:
            lines.append(line)
            if "Ctrl-C stops all" in line:
                break
        assert process.poll() is None, "".join(lines)
        assert {f"http://127.0.0.1:{port}/" in "".join(lines) for port in chosen.values()} == {True}
        yield chosen
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    deadline = time.monotonic() + 10
    while (left := processes_of(home)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []


def test_each_server_answers_with_its_page(ports: dict[str, int]) -> None:
    assert "Dagster" in get(ports["dagster"], "/asset-groups")
    assert "MLflow" in get(ports["mlflow"])
    assert "Feast" in get(ports["feast"])
    assert "marquee" in get(ports["feast"], "/projects-list.json")
    assert "pictures" in get(ports["pages"])


def test_runs_of_the_command_line_are_runs_of_their_job(ports: dict[str, int]) -> None:
    found = ask(ports["dagster"], RUNS_OF_A_JOB, job="ingestion", location="assets.definitions")
    assert found["pipelineOrError"]["runs"] == [{"status": "SUCCESS"}]


def test_the_picture_on_an_asset_page_is_served(ports: dict[str, int]) -> None:
    found = ask(ports["dagster"], LAST_MATERIALIZATION, asset=["raw_events"])
    (made,) = found["assetOrError"]["assetMaterializations"]
    assert made["partition"] == DAY
    entries = {one["label"]: one for one in made["metadataEntries"]}
    first = made["metadataEntries"][0]
    assert first["label"] == "preview"
    path = first["mdStr"].partition(":3080")[2].rstrip(")")
    with DIRECT.open(f"http://127.0.0.1:{ports['pages']}{path}", timeout=30) as answer:
        assert answer.read(8) == b"\x89PNG\r\n\x1a\n"
    assert entries["events by action"]["__typename"] == "TableMetadataEntry"
    assert "JsonMetadataEntry" not in {one["__typename"] for one in entries.values()}


def test_a_taken_port_is_one_clear_error(workspace: Workspace, ports: dict[str, int]) -> None:
    run: Callable[..., subprocess.CompletedProcess[str]] = marquee_command(workspace.root.parent)
    refused = run("ui", "--workspace", NAME, f"--dagster-port={ports['dagster']}")
    assert refused.returncode == 1
    assert f"port {ports['dagster']}, where Dagster would listen, cannot be used" in refused.stderr
    assert "--dagster-port" in refused.stderr
