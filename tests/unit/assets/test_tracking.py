import json
import math
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from assets.errors import TrackingError
from assets.tracking import (
    MlflowTracker,
    champion,
    flatten,
    mirror_champion,
    mlflow_run,
    register_model,
    run_url,
    tracking_uri,
)
from lake.digests import digest_file, digest_folder
from lake.lake import Written
from lake.refs import ArtifactRef


@pytest.fixture(scope="module")
def client(mlflow_folder: Path) -> Any:
    """MLflow's own client: what a person's notebook sees."""
    with mlflow_run(mlflow_folder, "warm-up", "warm-up", parameters={}, inputs=[]):
        from mlflow import MlflowClient

        uri = tracking_uri(mlflow_folder)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.fixture
def open_run(mlflow_folder: Path, client: Any, ref: ArtifactRef) -> Iterator[MlflowTracker]:
    parameters = {"recipe": "tiny", "model": {"dim": 8}}
    with mlflow_run(mlflow_folder, "training", "a run", parameters=parameters, inputs=[ref]) as (
        tracker,
        run_id,
    ):
        assert tracker.run_id == run_id
        yield tracker


def model(ref: ArtifactRef, digest: str) -> ArtifactRef:
    return replace(ref, asset="fine_tuned_model", digest=digest * 64, logical_id=digest * 64)


def test_parameters_are_flat(open_run: MlflowTracker, client: Any) -> None:
    open_run.log_parameters({"optimizer": {"name": "adamw", "betas": [0.9, 0.98]}})

    assert client.get_run(open_run.run_id).data.params == {
        "recipe": "tiny",
        "model.dim": "8",
        "optimizer.name": "adamw",
        "optimizer.betas": "[0.9, 0.98]",
    }


def test_more_parameters_than_a_batch_holds_all_arrive(
    open_run: MlflowTracker, client: Any
) -> None:
    open_run.log_parameters({f"p{index}": index for index in range(250)})

    assert len(client.get_run(open_run.run_id).data.params) == 252


def test_every_point_of_a_curve_arrives_in_order(open_run: MlflowTracker, client: Any) -> None:
    for step in range(450):
        open_run.log_metrics({"loss": 1 / (step + 1), "lr": 0.1}, step=step)
    open_run.flush()

    points = client.get_metric_history(open_run.run_id, "loss")
    assert [point.step for point in points] == list(range(450))
    assert math.isclose(points[9].value, 0.1)


def test_curves_are_thinned_and_keep_their_ends(open_run: MlflowTracker) -> None:
    assert open_run.curves() == {}
    for step in range(1000):
        open_run.log_metrics({"loss": 1.0, "validation_loss": 2.0, "lr": 0.1}, step=step)

    curves = open_run.curves()

    assert sorted(curves) == ["loss", "validation_loss"]
    steps = [step for step, _ in curves["loss"]]
    assert (len(steps), steps[0], steps[-1]) == (200, 0, 999)
    assert steps == sorted(set(steps))


def test_inputs_are_lineage_with_their_digest_and_no_data(
    open_run: MlflowTracker, client: Any, ref: ArtifactRef
) -> None:
    (logged,) = client.get_run(open_run.run_id).inputs.dataset_inputs

    assert logged.dataset.name == "interaction_tokens/2026-01-02"
    assert ref.digest.startswith(logged.dataset.digest)
    assert json.loads(logged.dataset.source) == {"uri": ref.uri, "digest": ref.digest}
    tags = {tag.key: tag.value for tag in logged.tags}
    assert tags["marquee.digest"] == ref.digest
    assert tags["marquee.logical_id"] == ref.logical_id


def test_an_output_is_known_by_the_digest_that_the_lake_gives_it(
    open_run: MlflowTracker, client: Any, tmp_path: Path, mlflow_folder: Path
) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(2 << 20))
    (tmp_path / "metrics.json").write_text('{"ndcg_at_10": 0.2}')

    digest = open_run.log_output(tmp_path, Written(12, {"ndcg_at_10": 0.2}))

    assert digest == digest_folder(tmp_path)
    assert client.get_run(open_run.run_id).data.tags["marquee.digest"] == digest
    kept = {
        path.name: path for path in (mlflow_folder / "artifacts").rglob(f"{open_run.run_id}/**/*")
    }
    assert "metrics.json" in kept
    assert "model.safetensors" not in kept
    record = json.loads(kept["output.json"].read_text())
    assert record["kept_in_the_lake_sha256"] == {"model.safetensors": digest_file(weights)}


def test_final_figures_are_comparable_between_runs(
    open_run: MlflowTracker, client: Any, tmp_path: Path
) -> None:
    figures = {"validation": {"ndcg_at_10": 0.2}, "steps": 40, "note": "text", "curve": [1, 2]}

    open_run.log_output(tmp_path, Written(12, figures))

    metrics = client.get_run(open_run.run_id).data.metrics
    assert metrics == {"final.validation.ndcg_at_10": 0.2, "final.steps": 40, "final.rows": 12}


def test_a_run_ends_as_it_went(mlflow_folder: Path, client: Any) -> None:
    def ended(name: str, error: type[BaseException] | None) -> str:
        try:
            with mlflow_run(mlflow_folder, "ends", name, parameters={}, inputs=[]) as (_, run_id):
                if error:
                    raise error
        except (RuntimeError, KeyboardInterrupt):
            pass
        return str(client.get_run(run_id).info.status)

    assert ended("fine", None) == "FINISHED"
    assert ended("broken", RuntimeError) == "FAILED"
    assert ended("interrupted", KeyboardInterrupt) == "KILLED"


def test_what_was_logged_before_a_failure_is_kept(mlflow_folder: Path, client: Any) -> None:
    run_ids = []

    def diverge() -> None:
        with mlflow_run(mlflow_folder, "ends", "late", parameters={}, inputs=[]) as (
            tracker,
            run_id,
        ):
            run_ids.append(run_id)
            tracker.log_metrics({"loss": 3.0}, step=1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        diverge()
    assert client.get_run(run_ids[0]).data.metrics == {"loss": 3.0}


def test_a_run_that_a_kill_left_open_is_closed_by_its_next_attempt(
    mlflow_folder: Path, client: Any
) -> None:
    experiment = client.create_experiment("left")
    left = client.create_run(experiment, run_name="model 1").info.run_id
    other = client.create_run(experiment, run_name="model 2").info.run_id

    with mlflow_run(mlflow_folder, "left", "model 1", parameters={}, inputs=[]):
        assert client.get_run(left).info.status == "KILLED"
        assert client.get_run(other).info.status == "RUNNING"


def _track(folder: str, name: str, seconds: float) -> None:
    with mlflow_run(Path(folder), "side by side", name, parameters={}, inputs=[]):
        time.sleep(seconds)


def test_processes_that_track_at_once_close_nobody_elses_run(
    mlflow_folder: Path, client: Any
) -> None:
    context = get_context("spawn")
    names = ["model 1", "model 1", "model 2"]
    processes = [context.Process(target=_track, args=(str(mlflow_folder), n, 1.0)) for n in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    experiment = client.get_experiment_by_name("side by side").experiment_id
    runs = client.search_runs([experiment])
    assert sorted(run.info.run_name for run in runs) == names
    assert {run.info.status for run in runs} == {"FINISHED"}
    one, other = sorted(
        (run.info for run in runs if run.info.run_name == "model 1"), key=lambda i: i.start_time
    )
    assert one.end_time <= other.start_time


def _register_one(folder: str, ref: ArtifactRef, both_are_ready: Barrier) -> None:
    champion(Path(folder), "of two")  # loads what takes long
    both_are_ready.wait(120)
    register_model(Path(folder), "of two", ref, None, {})


def test_two_processes_that_register_one_model_make_one_version(
    mlflow_folder: Path, client: Any, ref: ArtifactRef
) -> None:
    context = get_context("spawn")
    given = (str(mlflow_folder), model(ref, "1"), context.Barrier(2))
    processes = [context.Process(target=_register_one, args=given) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert len(client.search_model_versions("name = 'of two'")) == 1


def test_one_digest_is_one_version(mlflow_folder: Path, client: Any, ref: ArtifactRef) -> None:
    name = "registered"
    first = register_model(mlflow_folder, name, model(ref, "1"), None, {"ndcg_at_10": 0.2})
    other = register_model(mlflow_folder, name, model(ref, "2"), None, {})
    again = register_model(mlflow_folder, name, model(ref, "1"), None, {"ndcg_at_10": 0.9})

    assert (first, other, again) == (1, 2, 1)
    version = client.get_model_version(name, "1")
    assert version.source == ref.uri
    assert version.tags["marquee.digest"] == "1" * 64
    assert version.tags["metric.ndcg_at_10"] == "0.2"


def test_a_version_names_the_run_that_trained_it(
    mlflow_folder: Path, client: Any, ref: ArtifactRef, open_run: MlflowTracker
) -> None:
    version = register_model(mlflow_folder, "trained", model(ref, "1"), open_run.run_id, {})

    assert client.get_model_version("trained", str(version)).run_id == open_run.run_id


def test_the_champion_follows_also_backwards(
    mlflow_folder: Path, client: Any, ref: ArtifactRef
) -> None:
    name = "followed"
    for digest in "12":
        register_model(mlflow_folder, name, model(ref, digest), None, {})

    followed = [mirror_champion(mlflow_folder, name, digest * 64) for digest in "12211"]

    assert followed == [1, 2, 2, 1, 1]
    assert int(client.get_model_version_by_alias(name, "champion").version) == 1
    assert champion(mlflow_folder, name) == 1


def test_a_champion_that_was_never_registered_is_refused(
    mlflow_folder: Path, ref: ArtifactRef
) -> None:
    register_model(mlflow_folder, "known", model(ref, "1"), None, {})

    with pytest.raises(TrackingError, match="no version has digest 2222"):
        mirror_champion(mlflow_folder, "known", "2" * 64)
    assert champion(mlflow_folder, "known") is None
    assert champion(mlflow_folder, "nobody") is None


def test_the_link_names_experiment_and_run() -> None:
    assert run_url("r1", "7", base_url="https://mlflow.example.org/") == (
        "https://mlflow.example.org/#/experiments/7/runs/r1?workflowType=machine_learning"
    )


def test_flat_keys_are_dotted_and_values_are_text() -> None:
    assert flatten({"a": {"b": {"c": 1}}, "d": None, "e": True, "f": "x", "g": {}}) == {
        "a.b.c": "1",
        "d": "null",
        "e": "true",
        "f": "x",
    }


@pytest.mark.prove
def test_a_kill_while_the_database_is_made_leaves_none(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "import assets.tracking\n"
        "os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from pathlib import Path\n"
        "assets.tracking.champion(Path(sys.argv[1]), 'any')\n"
    )
    root = str(Path(__file__).parents[3])
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": root},
        check=False,
        timeout=60,
    )

    assert killed.returncode < 0
    assert not (tmp_path / "mlflow.db").exists()
    assert champion(tmp_path, "any") is None
    database = sqlite3.connect(tmp_path / "mlflow.db")
    assert database.execute("select count(*) from runs").fetchone() == (0,)
    database.close()


def test_mlflow_is_told_to_send_nothing_before_it_is_loaded(client: Any) -> None:
    # MLflow's own switch; whether a client exists says nothing here, under pytest it never does
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
