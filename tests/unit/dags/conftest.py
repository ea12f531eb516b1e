"""The DAG file as a module, and a webserver that answers as Dagster 1.13 does."""

import importlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


class FakeDagster:
    """Runs, jobs and materializations, told in the words of the real webserver."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        """The newest first."""
        self.locations = ["marquee"]
        self.metadata: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.refusal: dict[str, Any] | None = None
        """What launching answers instead."""
        self.raw: tuple[int, bytes] | None = None
        """What anything answers instead: the status and the body."""
        self.headers: dict[str, str] = {}
        self.url = ""

    def add_run(self, status: str, *, tag: str, **tags: str) -> str:
        run_id = f"run-{len(self.runs) + 1}"
        listed = [{"key": key, "value": value} for key, value in tags.items()]
        listed.append({"key": "marquee/airflow_run", "value": tag})
        self.runs.insert(0, {"id": run_id, "status": status, "tags": listed})
        return run_id

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "repositoriesOrError" in query:
            jobs = [{"name": name} for name in ("__ASSET_JOB", "daily_refresh", "ingestion")]
            nodes = [
                {"name": "__repository__", "location": {"name": name}, "jobs": jobs}
                for name in self.locations
            ]
            result = {"__typename": "RepositoryConnection", "nodes": nodes}
            return {"data": {"repositoriesOrError": result}}
        if "runsOrError" in query:
            found = [run for run in self.runs if variables["tags"][0] in run["tags"]]
            return {"data": {"runsOrError": {"__typename": "Runs", "results": found[:1]}}}
        if "launchRun" in query:
            return {"data": {"launchRun": self.refusal or self._launched(variables["params"])}}
        key = (variables["path"][0], variables["partitions"][0])
        materializations = [{"metadataEntries": self.metadata[key]}] if key in self.metadata else []
        asset = {"__typename": "Asset", "assetMaterializations": materializations}
        return {"data": {"assetOrError": asset}}

    def _launched(self, params: dict[str, Any]) -> dict[str, Any]:
        run_id = f"run-{len(self.runs) + 1}"
        tags = params["executionMetadata"]["tags"]
        self.runs.insert(
            0, {"id": run_id, "status": "QUEUED", "tags": tags, "selector": params["selector"]}
        )
        return {"__typename": "LaunchRunSuccess", "run": {"id": run_id}}


@pytest.fixture(scope="session")
def lifecycle(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Return the DAG file; as a library Airflow sets up neither logging nor a database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        patch.setenv("_AIRFLOW__AS_LIBRARY", "1")
        return importlib.import_module("dags.marquee_lifecycle")


@pytest.fixture
def dagster(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDagster]:
    fake = FakeDagster()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fake.headers = dict(self.headers)
            status, body = fake.raw or (
                200,
                json.dumps(fake.answer(asked["query"], asked["variables"])).encode(),
            )
            self.send_response(status)
            self.send_header("Content-Length", str(max(len(body), 1)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("MARQUEE_DAGSTER_URL", fake.url + "/")
    for name in ("MARQUEE_DAGSTER_TOKEN", "MARQUEE_DAGSTER_LOCATION"):
        monkeypatch.delenv(name, raising=False)
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def dag_file() -> Path:
    return Path(__file__).resolve().parents[3] / "dags" / "marquee_lifecycle.py"
