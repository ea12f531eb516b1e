"""The DAGs against a real Dagster over the tiny world: what Airflow asks for is what happens."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import dagster as dg
import pytest

from lake.days import end_of
from tests.integration.conftest import ROOT, Survived

if importlib.util.find_spec("airflow") is None:
    pytest.skip("airflow is not installed: pip install -e '.[airflow]'", allow_module_level=True)

TIMEOUT_S = 400

INSTANCE = """
telemetry: {enabled: false}
# runs start when they are launched: no daemon has to take them off a queue
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
"""


def wait_until(is_so: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + TIMEOUT_S
    while not (value := is_so()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(arguments: list[str], log: Path, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    with (
        log.open("a") as stream,
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", *arguments],
            cwd=ROOT,
            stdout=stream,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        ) as started,
    ):
        try:
            yield started
        finally:
            started.kill()  # a plain signal is put off, by up to half a minute


class Webserver:
    """Dagster's webserver, which can be restarted, over a code server that goes on running."""

    def __init__(self, folder: Path, code_port: int) -> None:
        self._log = folder / "webserver.log"
        self._environment = {**os.environ, "DAGSTER_HOME": str(folder)}
        self._code_port = code_port
        self._port = free_port()
        self._running = ExitStack()
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        arguments = ["dagster_webserver", "--host", "127.0.0.1", "--port", str(self._port)]
        arguments += ["--grpc-host", "127.0.0.1", "--grpc-port", str(self._code_port)]
        started = self._running.enter_context(process(arguments, self._log, env=self._environment))
        # not killed: a run that it is just launching has to reach the code server
        self._running.callback(started.wait)
        self._running.callback(started.terminate)

    def stop(self) -> None:
        self._running.close()

    def wait(self) -> None:
        wait_until(self._has_jobs)

    def runs(self, tag: str) -> list[str]:
        """Return the states of the runs for a DAG and partition, the newest first."""
        query = (
            "query($tags: [ExecutionTag!]) { runsOrError(filter: {tags: $tags})"
            " { ... on Runs { results { status } } } }"
        )
        tags = [{"key": "marquee/airflow_run", "value": tag}]
        results = self._ask(query, tags=tags)["runsOrError"]["results"]
        return [run["status"] for run in results]

    def _has_jobs(self) -> bool:
        query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
        try:
            return bool(self._ask(query)["repositoriesOrError"].get("nodes"))
        except urllib.error.URLError:
            return False

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            data: dict[str, Any] = json.load(response)["data"]
        return data


@dataclass
class Airflow:
    """Airflow, as far as it runs a DAG for a logical date."""

    started: "subprocess.Popen[str]"
    answers: TextIO

    def trigger(self, dag_id: str, due_at: str) -> None:
        assert self.started.stdin is not None
        self.started.stdin.write(f"{dag_id} {due_at}\n")
        self.started.stdin.flush()

    def answer(self) -> Any:
        return json.loads(wait_until(self._line))

    def _line(self) -> str:
        assert self.started.poll() is None, "it ended: see airflow.log in the test's folder"
        return self.answers.readline()

    def ended(self, dag_id: str, due_at: str) -> dict[str, Any]:
        """Return how a run ended; what comes late of an earlier one is passed over."""
        while (answer := self.answer())["asked"] != [dag_id, due_at]:
            pass
        ended: dict[str, Any] = answer
        return ended

    def run(self, dag_id: str, due_at: str) -> dict[str, Any]:
        self.trigger(dag_id, due_at)
        return self.ended(dag_id, due_at)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calendar")
    (folder / "dagster.yaml").write_text(INSTANCE)
    # dagster 1.13: two servers that make the databases at once leave them broken for good
    with dg.DagsterInstance.from_config(str(folder)):
        return folder


@pytest.fixture(scope="module")
def dagster(survived: Survived, folder: Path) -> Iterator[Webserver]:
    root, port = survived.workspace.root, free_port()
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(folder),
        "MARQUEE_WORKSPACE": str(root),
    }
    arguments = ["dagster", "api", "grpc", "--host", "127.0.0.1", "--port", str(port)]
    arguments += ["--module-name", "assets.definitions", "--location-name", "marquee"]
    with process(arguments, folder / "code.log", env=environment):
        webserver = Webserver(folder, port)
        webserver.start()
        yield webserver
        webserver.stop()


@pytest.fixture(scope="module")
def airflow(dagster: Webserver, folder: Path) -> Iterator[Airflow]:
    home, told_back = folder / "airflow", folder / "answers"
    told_back.touch()
    environment = {name: value for name, value in os.environ.items() if "AIRFLOW" not in name}
    environment |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "MARQUEE_DAGSTER_URL": dagster.url,
    }
    arguments = ["tests.integration.airflow_days", str(told_back)]
    with (
        process(
            arguments, folder / "airflow.log", env=environment, stdin=subprocess.PIPE
        ) as started,
        told_back.open() as answers,
    ):
        airflow = Airflow(started, answers)
        assert airflow.answer() == ["marquee_daily", "marquee_monthly"]
        dagster.wait()
        yield airflow


def test_a_day_outlives_a_restart_is_announced_and_runs_once(
    survived: Survived, dagster: Webserver, airflow: Airflow
) -> None:
    stable = survived.workspace.store.state().stable(1)
    assert stable is not None
    due_at, tag = f"{end_of(stable.day):%Y-%m-%d}T07:00:00+00:00", f"marquee_daily/{stable.day}"
    airflow.trigger("marquee_daily", due_at)
    wait_until(lambda: {"STARTING", "STARTED"} & {*dagster.runs(tag)})
    dagster.stop()
    time.sleep(4)  # long enough for a look at a webserver that is not there
    dagster.start()
    for ask in (airflow.ended, airflow.run):
        ended = ask("marquee_daily", due_at)
        assert ended["tasks"] == {"refresh": ["success", 1], "announce": ["success", 1]}
        [[uri, extra]] = ended["events"]
        assert uri == "marquee://embeddings/f1/stable"
        assert extra["version"] == stable.name
        assert extra["digest"] == stable.digest
        assert extra["day"] == stable.day
        assert dagster.runs(tag) == ["SUCCESS"]


def test_a_retry_launches_what_failed_again(
    survived: Survived, dagster: Webserver, airflow: Airflow
) -> None:
    due_at = "2026-02-01T12:00:00+00:00"
    described = survived.workspace.root / "workspace.json"
    aside = described.rename(described.with_suffix(".aside"))
    try:
        airflow.trigger("marquee_monthly", due_at)
        wait_until(lambda: dagster.runs("marquee_monthly/2026-01-01") == ["FAILURE"])
    finally:
        aside.rename(described)
    ended = airflow.ended("marquee_monthly", due_at)
    assert ended["tasks"] == {"pretrain": ["success", 2]}
    assert dagster.runs("marquee_monthly/2026-01-01") == ["SUCCESS", "FAILURE"]


def test_a_day_that_cannot_succeed_fails_and_announces_nothing(
    dagster: Webserver, airflow: Airflow
) -> None:
    ended = airflow.run("marquee_daily", "2027-02-04T07:00:00+00:00")
    assert ended["state"] == "failed"
    assert ended["tasks"] == {"refresh": ["failed", 1], "announce": ["upstream_failed", 0]}
    assert ended["events"] == []
    assert dagster.runs("marquee_daily/2027-02-03") == ["FAILURE"]
