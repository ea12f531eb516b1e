import gc
import json
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from assets.training_job import TrainingJob
from assets.training_process import main
from lake.digests import digest_folder

MakeJob = Callable[..., TrainingJob]


@pytest.fixture
def run_by_hand(tmp_path: Path) -> Callable[[TrainingJob], int]:
    gc.collect()  # what other tests left of Dagster's connections complains in the log, now

    def _run(job: TrainingJob) -> int:
        path = tmp_path / "job.json"
        path.write_text(json.dumps(job.to_json()))
        return main(["--job", str(path)])

    return _run


def wait_for_line(log_path: Path) -> None:
    deadline = time.monotonic() + 60
    while not (log_path.is_file() and re.search(r"asleep \d+", log_path.read_text())):
        assert time.monotonic() < deadline, "the training process never started"
        time.sleep(0.1)


def statuses(mlflow_folder: Path, run_name: str) -> list[str]:
    """Return how runs of a name ended, oldest first."""
    database = sqlite3.connect(mlflow_folder / "mlflow.db")
    try:
        query = "select status from runs where name = ? order by start_time"
        return [status for (status,) in database.execute(query, (run_name,))]
    finally:
        database.close()


def test_by_hand_the_first_line_is_the_link_and_the_result_is_printed(
    job: MakeJob, run_by_hand: Callable[[TrainingJob], int], capsys: pytest.CaptureFixture[str]
) -> None:
    described = job("succeed", threads=2)

    assert run_by_hand(described) == 0

    out, err = capsys.readouterr()
    result = json.loads(out)
    assert (result["rows"], result["digest"]) == (7, digest_folder(Path(described.output)))
    assert result["figures"] == {
        "threads": "2",
        "ndcg_at_10": 0.25,
        "curves": {"loss": [[0, 3.0], [1, 2.0], [2, 1.0]]},
    }
    lines = err.splitlines()
    assert lines[0] == f"curves: {result['run_url']}"
    assert lines[1] == "epoch 1 of 1"
    assert Path(described.log_path).read_text().count("\n") == len(lines)


def test_a_refusal_is_one_line_an_exit_code_and_a_failed_run(
    job: MakeJob,
    run_by_hand: Callable[[TrainingJob], int],
    capsys: pytest.CaptureFixture[str],
    mlflow_folder: Path,
) -> None:
    assert run_by_hand(job("refuse", asset="refused_model")) == 1

    out, err = capsys.readouterr()
    link, line = err.splitlines()
    assert out == ""
    assert link.startswith("curves: ")
    assert line == (
        "refused_model 2026-01-03 failed: "
        "interaction_tokens 2026-01-03 holds no target: run an earlier day"
    )
    assert statuses(mlflow_folder, "refused_model 2026-01-03") == ["FAILED"]


def test_a_bug_leaves_its_traceback_in_the_log(
    job: MakeJob, run_by_hand: Callable[[TrainingJob], int]
) -> None:
    described = job("break_down")

    with pytest.raises(KeyError, match="weights"):
        run_by_hand(described)

    assert Path(described.log_path).read_text().splitlines()[-1] == "KeyError: 'weights'"


def test_a_task_that_does_not_exist_is_named(
    job: MakeJob, run_by_hand: Callable[[TrainingJob], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_by_hand(replace(job("succeed"), task="dream")) == 1
    assert run_by_hand(job("dream")) == 1

    first, second = capsys.readouterr().err.splitlines()
    assert "want task pretrain, fine_tune or package.module:function, got 'dream'" in first
    assert "no task 'own_tasks:dream'" in second


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


def test_an_interrupted_run_is_marked_killed(
    job: Callable[..., TrainingJob], tmp_path: Path, mlflow_folder: Path
) -> None:
    described = job("sleep", asset="interrupted_model")
    path = tmp_path / "job.json"
    path.write_text(json.dumps(described.to_json()))
    command = [sys.executable, "-m", "assets.training_process", "--job", str(path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_for_line(Path(described.log_path))
        process.terminate()
        process.wait(30)

    assert process.returncode == 130
    assert statuses(mlflow_folder, "interrupted_model 2026-01-03") == ["KILLED"]
