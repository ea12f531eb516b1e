import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.training_job import TrainingJob
from assets.training_launch import launch
from assets.training_process import main
from lake.digests import digest_folder
from lake.refs import ArtifactRef

TASKS = """
import os, signal, time
from pathlib import Path
from lake.lake import Written
from training.errors import NoDataError

def succeed(job, tracker):
    tracker.log_parameters({"model": {"dim": 8}})
    for step in range(3):
        tracker.log_metrics({"loss": 3.0 - step}, step=step)
    tracker.log_line("epoch 1 of 1")
    Path(job.output, "model.safetensors").write_bytes(b"weights")
    Path(job.output, "metrics.json").write_text("{}")
    return Written(7, {"threads": os.environ["OMP_NUM_THREADS"], "ndcg_at_10": 0.25})

def refuse(job, tracker):
    raise NoDataError("interaction_tokens 2026-01-03 holds no target: run an earlier day")

def break_down(job, tracker):
    return {}["weights"]

def die(job, tracker):
    tracker.log_line("about to run out of memory")
    os.kill(os.getpid(), signal.SIGKILL)

def sleep(job, tracker):
    tracker.log_line(f"asleep {os.getpid()}")
    time.sleep(60)
"""

REF = ArtifactRef(
    asset="interaction_tokens",
    partition="2026-01-02",
    uri="artifacts/interaction_tokens/2026-01-02/aa",
    logical_id="l" * 64,
    digest="d" * 64,
    schema_id="tokens/1",
    rows=12,
    as_of="2026-01-03T00:00:00+00:00",
    producer="c" * 64,
)


@pytest.fixture(scope="module")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def job(
    tmp_path: Path, mlflow_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., TrainingJob]:
    (tmp_path / "own_tasks.py").write_text(TASKS)
    root = str(Path(__file__).parents[3])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), root]))
    output = tmp_path / "output"
    output.mkdir()

    def _job(task: str, **changes: Any) -> TrainingJob:
        made = TrainingJob(
            task=f"own_tasks:{task}",
            recipe="tiny",
            data={},
            as_of="2026-01-03T00:00:00+00:00",
            output=str(output),
            asset="fine_tuned_model",
            partition="2026-01-03",
            mlflow_folder=str(mlflow_folder),
            log_path=str(tmp_path / "logs" / "train.log"),
            inputs=(REF,),
        )
        return replace(made, **changes)

    return _job


def run_asset(job: TrainingJob, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """Run an asset that trains, as the real ones do."""

    @dg.asset
    def fine_tuned_model(context: dg.AssetExecutionContext) -> dg.Output[int]:
        result = launch(context, job)
        return dg.Output(result.rows, metadata=result.to_json())

    return dg.materialize(
        [fine_tuned_model],
        instance=instance,
        raise_on_error=False,
        resources={"io_manager": dg.mem_io_manager},
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def lines_of(result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance) -> list[str]:
    return [entry.user_message for entry in instance.all_logs(result.run_id)]


def failure_of(result: dg.ExecuteInProcessResult) -> dg.Failure:
    assert not result.success
    (failed,) = result.get_step_failure_events()
    data = failed.step_failure_data.user_failure_data
    assert data is not None
    return data


def by_hand(job: TrainingJob, folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "job.json"
    path.write_text(json.dumps(job.to_json()))
    command = [sys.executable, "-m", "assets.training_process", "--job", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def statuses(mlflow_folder: Path, run_name: str) -> list[str]:
    """Return how runs of a name ended, oldest first."""
    database = sqlite3.connect(mlflow_folder / "mlflow.db")
    try:
        query = "select status from runs where name = ? order by start_time"
        return [status for (status,) in database.execute(query, (run_name,))]
    finally:
        database.close()


def test_a_run_reports_its_result_once(
    job: Callable[..., TrainingJob], instance: dg.DagsterInstance
) -> None:
    described = job("succeed", threads=2)

    result = run_asset(described, instance)

    assert result.success
    (made,) = result.asset_materializations_for_node("fine_tuned_model")
    assert made.metadata["rows"].value == 7
    assert made.metadata["digest"].value == digest_folder(Path(described.output))
    assert made.metadata["figures"].value == {"threads": "2", "ndcg_at_10": 0.25}
    assert made.metadata["peak_rss_mb"].value > 10


def test_lines_stream_into_dagster_and_start_with_the_link(
    job: Callable[..., TrainingJob], instance: dg.DagsterInstance
) -> None:
    result = run_asset(job("succeed"), instance)

    lines = lines_of(result, instance)
    ours = [line for line in lines if line.startswith(("curves: ", "epoch"))]
    assert ours[0].startswith("curves: http://127.0.0.1:5000/#/experiments/")
    assert ours[1] == "epoch 1 of 1"


def test_a_refusal_fails_the_asset_with_its_one_line(
    job: Callable[..., TrainingJob], instance: dg.DagsterInstance
) -> None:
    failure = failure_of(run_asset(job("refuse"), instance))

    assert failure.description == (
        "fine_tuned_model 2026-01-03 failed: "
        "interaction_tokens 2026-01-03 holds no target: run an earlier day"
    )
    assert not failure.allow_retries


def test_a_kill_fails_the_asset_and_nothing_else(
    job: Callable[..., TrainingJob], instance: dg.DagsterInstance, mlflow_folder: Path
) -> None:
    failure = failure_of(run_asset(job("die"), instance))

    assert failure.description is not None
    assert "was killed by SIGKILL" in failure.description
    assert "about to run out of memory" in str(failure.metadata["last lines"].value)
    assert failure.allow_retries


def test_a_bug_shows_its_traceback_to_whoever_watches(
    job: Callable[..., TrainingJob], instance: dg.DagsterInstance
) -> None:
    result = run_asset(job("break_down"), instance)

    failure = failure_of(result)
    assert failure.description == "KeyError: 'weights'"
    assert any("break_down" in line for line in lines_of(result, instance))


def test_it_runs_by_hand_and_prints_its_result(
    job: Callable[..., TrainingJob], tmp_path: Path
) -> None:
    done = by_hand(job("succeed"), tmp_path)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 7
    assert done.stderr.startswith("curves: http://127.0.0.1:5000/")


def test_by_hand_a_refusal_is_one_line_and_an_exit_code(
    job: Callable[..., TrainingJob], tmp_path: Path
) -> None:
    done = by_hand(job("refuse"), tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    link, line = done.stderr.splitlines()
    assert link.startswith("curves: ")
    assert line.endswith("holds no target: run an earlier day")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot read the job"),
        ('{"format_version": 9}', "read format 1, got 9"),
        ('{"format_version": 1, "task": "pretrain"}', "missing 8 required"),
    ],
)
def test_a_job_that_cannot_be_read_is_one_line_and_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = tmp_path / "job.json"
    path.write_text(text)

    assert main(["--job", str(path)]) == 1

    assert said in capsys.readouterr().err


def test_a_missing_job_file_is_one_line_and_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--job", str(tmp_path / "none.json")]) == 1

    assert capsys.readouterr().err.count("\n") == 1


def test_an_orphan_leaves(job: Callable[..., TrainingJob], tmp_path: Path) -> None:
    described = job("sleep")
    asset = tmp_path / "orchestrator.py"
    asset.write_text(
        "import json, sys, dagster as dg\n"
        "from assets.training_job import TrainingJob\n"
        "from assets.training_launch import launch\n"
        "job = TrainingJob.from_json(json.loads(sys.argv[1]))\n"
        "@dg.asset\n"
        "def model(context: dg.AssetExecutionContext) -> None:\n"
        "    launch(context, job)\n"
        "dg.materialize([model])\n"
    )
    command = [sys.executable, str(asset), json.dumps(described.to_json())]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as orchestrator:
        child = _pid_in(Path(described.log_path))
        orchestrator.kill()

    deadline = time.monotonic() + 10
    while _is_running(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _is_running(child)


def _pid_in(log_path: Path) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if log_path.is_file() and (found := re.search(r"asleep (\d+)", log_path.read_text())):
            return int(found[1])
        time.sleep(0.1)
    raise AssertionError("the training process never started")


def _is_running(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_an_interrupted_run_is_marked_killed(
    job: Callable[..., TrainingJob], tmp_path: Path, mlflow_folder: Path
) -> None:
    described = job("sleep", asset="interrupted_model")
    path = tmp_path / "job.json"
    path.write_text(json.dumps(described.to_json()))
    command = [sys.executable, "-m", "assets.training_process", "--job", str(path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        _pid_in(Path(described.log_path))
        process.terminate()
        process.wait(30)

    assert process.returncode == 130
    assert statuses(mlflow_folder, "interrupted_model 2026-01-03") == ["KILLED"]
