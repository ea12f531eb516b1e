import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterPipesExecutionError

from assets.training_job import TrainingJob
from assets.training_launch import launch
from lake.digests import digest_folder

MakeJob = Callable[..., TrainingJob]

ORCHESTRATOR = """
import json, sys
import dagster as dg
from assets.training_job import TrainingJob
from assets.training_launch import launch

@dg.asset
def model(context: dg.AssetExecutionContext) -> None:
    launch(context, TrainingJob.from_json(json.loads(sys.argv[1])))

dg.materialize([model])
"""


class EndsWith:
    """A client whose process writes its log, unless it dies before, and ends with an exit code."""

    def __init__(self, code: int, lines: str | None) -> None:
        self.code = code
        self.lines = lines

    def run(self, *, extras: dict[str, Any], **_: Any) -> Any:
        if self.lines is not None:
            log_path = Path(extras["job"]["log_path"])
            log_path.parent.mkdir(parents=True, exist_ok=True)
            log_path.write_text(self.lines)
        raise DagsterPipesExecutionError(f"External execution process failed with code {self.code}")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def run_asset(job: TrainingJob, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """Run an asset that trains, as the real ones do."""

    @dg.asset
    def fine_tuned_model(context: dg.AssetExecutionContext) -> dg.Output[int]:
        result = launch(context, job)
        return dg.Output(result.rows, metadata=result.to_json())

    resources = {"io_manager": dg.mem_io_manager}
    return dg.materialize(
        [fine_tuned_model], instance=instance, raise_on_error=False, resources=resources
    )


def failure_for(job: TrainingJob, *, code: int, lines: str | None) -> dg.Failure:
    """Return how an asset fails whose process wrote ``lines`` and ended with ``code``."""
    client: Any = EndsWith(code, lines)
    with dg.build_asset_context() as context, pytest.raises(dg.Failure) as caught:
        launch(context, job, client=client)
    return caught.value


def test_a_run_materializes_once_and_its_lines_start_with_the_link(
    job: MakeJob, instance: dg.DagsterInstance
) -> None:
    described = job("succeed", threads=2)

    result = run_asset(described, instance)

    assert result.success
    (made,) = result.asset_materializations_for_node("fine_tuned_model")
    metadata = {name: entry.value for name, entry in made.metadata.items()}
    assert metadata["rows"] == 7
    assert metadata["digest"] == digest_folder(Path(described.output))
    assert metadata["figures"]["threads"] == "2"
    assert metadata["figures"]["curves"] == {"loss": [[0, 3.0], [1, 2.0], [2, 1.0]]}
    assert metadata["peak_rss_mb"] > 10
    lines = [entry.user_message for entry in instance.all_logs(result.run_id)]
    ours = [line for line in lines if line.startswith(("curves: ", "epoch"))]
    assert ours == [f"curves: {metadata['run_url']}", "epoch 1 of 1"]


def test_a_kill_fails_the_asset_and_nothing_else(
    job: MakeJob, instance: dg.DagsterInstance
) -> None:
    result = run_asset(job("die"), instance)

    (failed,) = result.get_step_failure_events()
    failure = failed.step_failure_data.user_failure_data
    assert failure is not None
    assert failure.description == (
        "fine_tuned_model 2026-01-03 was killed by SIGKILL; the machine may be out of memory"
    )
    assert "about to run out of memory" in str(failure.metadata["last lines"].value)


def test_a_refusal_fails_with_the_last_line_and_is_not_retried(job: MakeJob) -> None:
    line = "2026-01-03 10:00:00,123 ERROR fine_tuned_model 2026-01-03 failed: no target\n"

    failure = failure_for(job("refuse"), code=1, lines=line)

    assert failure.description == "fine_tuned_model 2026-01-03 failed: no target"
    assert not failure.allow_retries


def test_a_crash_may_be_retried(job: MakeJob) -> None:
    failure = failure_for(job("succeed"), code=-11, lines="step 1\n" * 50)

    assert failure.description == "fine_tuned_model 2026-01-03 was killed by SIGSEGV"
    assert failure.allow_retries
    assert str(failure.metadata["last lines"].value).count("step 1") == 20


def test_a_process_that_died_before_its_log_is_not_explained_by_the_one_before(
    job: MakeJob,
) -> None:
    described = job("succeed")
    failure_for(described, code=1, lines="2026-01-03 10:00:00,123 ERROR no target\n")

    failure = failure_for(described, code=2, lines=None)

    assert failure.description == "External execution process failed with code 2"
    assert "no target" not in str(failure.metadata["last lines"].value)


def test_a_process_leaves_when_its_orchestrator_is_killed(job: MakeJob, tmp_path: Path) -> None:
    described = job("sleep")
    script = tmp_path / "orchestrator.py"
    script.write_text(ORCHESTRATOR)
    command = [sys.executable, str(script), json.dumps(described.to_json())]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as orchestrator:
        child = pid_in(Path(described.log_path))
        orchestrator.kill()

    deadline = time.monotonic() + 10
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(child)


def pid_in(log_path: Path) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if log_path.is_file() and (found := re.search(r"asleep (\d+)", log_path.read_text())):
            return int(found[1])
        time.sleep(0.1)
    raise AssertionError("the training process never started")


def is_running(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] != "Z"
