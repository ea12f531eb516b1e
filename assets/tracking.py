"""Runs, curves, lineage and registered models in a local MLflow, by reference and digest.

::

    <workspace>/mlflow/mlflow.db     SQLite: experiments, runs, curves, the model registry
    <workspace>/mlflow/artifacts/    the small files of a run; weights stay in the lake
    <workspace>/mlflow/locks/        one per name of a run, held while it is open; the registry's

Several processes may track at once: runs of one name follow each other, so one that still says
RUNNING when its name is free was left by a killed process.

Nothing here loads a model or data: MLflow's loaders run code from the artifact. MLflow takes 2 s to
import and 1 s to open, so it is loaded by the first call and kept for the process.
"""

import json
import logging
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.errors import TrackingError
from lake.digests import digest_file, digest_folder, digest_json
from lake.lake import Written
from lake.lock import exclusive_lock
from lake.refs import ArtifactRef
from training.tracker import Progress

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

DEFAULT_BASE_URL = "http://127.0.0.1:5000"
CHAMPION = "champion"

DIGEST_TAG = "marquee.digest"
LOGICAL_ID_TAG = "marquee.logical_id"

_FLUSH_S = 1.0
_FLUSH_POINTS = 200
_CURVE_POINTS = 200  # of a curve that a picture is drawn from
_SMALL_FILE_BYTES = 1 << 20  # larger files stay in the lake and are recorded by name and sha256
_MLFLOW_ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}
_MLFLOW_DIGEST_CHARS = 36  # MLflow 3.17 refuses longer dataset digests


def run_url(run_id: str, experiment_id: str, *, base_url: str = DEFAULT_BASE_URL) -> str:
    """Return the page of a run, for people; it answers while the MLflow server runs."""
    page = f"{base_url.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"
    return f"{page}?workflowType=machine_learning"  # else its UI (3.17) opens for language models


def tracking_uri(folder: Path) -> str:
    """Return the address of the tracking database below ``folder``."""
    return f"sqlite:///{folder.resolve() / 'mlflow.db'}"


class MlflowTracker:
    """A ``training.tracker.Tracker`` that writes one run; curves are sent about once a second."""

    def __init__(self, client: "MlflowClient", run_id: str, *, url: str) -> None:
        """Write to ``run_id``; ``mlflow_run`` makes and closes it."""
        self.run_id = run_id
        self.url = url
        self._client = client
        self._points: list[tuple[str, float, int, int]] = []
        self._curves: dict[str, list[tuple[int, float]]] = {}
        self._flushed_at = time.monotonic()

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Record what the run is; nested mappings are flattened with dots."""
        from mlflow.entities import Param

        flat = flatten(parameters)
        params = [Param(key, value) for key, value in flat.items()]
        for start in range(0, len(params), 100):  # MLflow takes 100 parameters at a time
            self._client.log_batch(self.run_id, params=params[start : start + 100])

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Record one point of one or several curves."""
        now_ms = int(time.time() * 1000)
        for name, value in metrics.items():
            self._points.append((name, float(value), now_ms, step))
            self._curves.setdefault(name, []).append((step, float(value)))
        is_due = time.monotonic() - self._flushed_at > _FLUSH_S
        if is_due or len(self._points) >= _FLUSH_POINTS:
            self.flush()

    def curves(self, *, ending: str = "loss") -> dict[str, list[tuple[int, float]]]:
        """Return the (step, value) points so far of curves by name, at most 200 of each."""
        return {
            name: _thinned(points) for name, points in self._curves.items() if name.endswith(ending)
        }

    def log_line(self, line: str) -> None:
        """Log the line: the process that trains sends its log to whoever watches."""
        logger.info("%s", line)

    def log_progress(self, progress: Progress) -> None:
        """Log a line now and then."""
        if progress.is_due:
            logger.info("%s", progress)

    def log_output(self, folder: Path, written: Written) -> str:
        """Record what the run made and return its digest, the one that the lake will give it.

        Small files are copied, weights are recorded by name and sha256; figures that are numbers
        become metrics ``final.<name>``, so that runs compare.
        """
        digest = digest_folder(folder)
        large = {}
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder)
            if path.stat().st_size <= _SMALL_FILE_BYTES:
                where = name.parent.as_posix()
                self._client.log_artifact(self.run_id, str(path), "" if where == "." else where)
            else:
                large[name.as_posix()] = digest_file(path)
        self._client.set_tag(self.run_id, DIGEST_TAG, digest)
        final = _numbers({**written.figures, "rows": written.rows}, "final.")
        now_ms = int(time.time() * 1000)
        self._points += [(name, value, now_ms, 0) for name, value in final.items()]
        self.flush()
        self._client.log_dict(
            self.run_id,
            {
                "digest": digest,
                "rows": written.rows,
                "figures": dict(written.figures),
                "kept_in_the_lake_sha256": large,
            },
            "output.json",
        )
        return digest

    def flush(self) -> None:
        """Send the points that wait."""
        from mlflow.entities import Metric

        points, self._points = self._points, []
        self._flushed_at = time.monotonic()
        if points:
            self._client.log_batch(self.run_id, metrics=[Metric(*point) for point in points])


@contextmanager
def mlflow_run(
    folder: Path,
    experiment: str,
    run_name: str,
    *,
    parameters: Mapping[str, Any],
    inputs: Sequence[ArtifactRef],
    base_url: str = DEFAULT_BASE_URL,
) -> Iterator[tuple[MlflowTracker, str]]:
    """Open a run and yield its tracker and id; it ends FINISHED, FAILED or KILLED (interrupted).

    Waits while another process has a run of that experiment and name open; one that still says
    RUNNING then was left by a killed process and is marked KILLED first.

    Args:
        folder: where this workspace keeps MLflow.
        experiment: name of the experiment, made when missing.
        run_name: such as an asset and its partition.
        parameters: what the run is, flattened with dots.
        inputs: data the run reads: recorded as dataset lineage, nothing is loaded.
        base_url: where people reach the MLflow server.
    """
    client = _client(folder)
    experiment_id = _experiment_id(client, folder, experiment)
    with exclusive_lock(_lock_of_run(folder, experiment, run_name), what=run_name, is_waiting=True):
        _close_abandoned(client, experiment_id, run_name)
        run_id: str = client.create_run(experiment_id, run_name=run_name).info.run_id
        url = run_url(run_id, experiment_id, base_url=base_url)
        tracker = MlflowTracker(client, run_id, url=url)
        status = "FAILED"
        try:
            tracker.log_parameters(parameters)
            _log_inputs(client, run_id, inputs)
            yield tracker, run_id
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            try:
                tracker.flush()
            finally:
                client.set_terminated(run_id, status=status)


def register_model(
    folder: Path, name: str, model_ref: ArtifactRef, run_id: str | None, metrics: Mapping[str, Any]
) -> int:
    """Return the version under which a model is registered; the same digest has one version.

    Args:
        folder: where this workspace keeps MLflow.
        name: of the registered model, made when missing.
        model_ref: the model; its place in the lake is the source, its files are not copied.
        run_id: the MLflow run that trained it, where there is one.
        metrics: figures it was accepted with, shown as tags.
    """
    client = _client(folder)
    with _registry_lock(folder):
        existing = _find_version(client, name, model_ref.digest)
        if existing is not None:
            return existing
        return _register(client, name, model_ref, run_id, metrics)


def _register(
    client: "MlflowClient",
    name: str,
    model_ref: ArtifactRef,
    run_id: str | None,
    metrics: Mapping[str, Any],
) -> int:
    if not client.search_registered_models(filter_string=f"name = '{name}'"):
        client.create_registered_model(name)
    tags = {
        DIGEST_TAG: model_ref.digest,
        LOGICAL_ID_TAG: model_ref.logical_id,
        "marquee.partition": model_ref.partition,
        "marquee.as_of": model_ref.as_of,
        **{f"metric.{key}": value for key, value in flatten(metrics).items()},
    }
    made = client.create_model_version(
        name,
        source=model_ref.uri,
        run_id=run_id,
        tags=tags,
        description=f"{model_ref.asset} {model_ref.partition}, as of {model_ref.as_of}",
    )
    return int(made.version)


def mirror_champion(folder: Path, name: str, digest: str) -> int:
    """Point the alias ``champion`` at the version with ``digest`` and return that version.

    The commit log decides who the champion is; the alias only follows it, also backwards. Raises
    TrackingError where no version has that digest: register it first.
    """
    client = _client(folder)
    with _registry_lock(folder):
        version = _find_version(client, name, digest)
        if version is None:
            raise TrackingError(f"model {name}: no version has digest {digest}; register it first")
        if champion(folder, name) != version:
            client.set_registered_model_alias(name, CHAMPION, str(version))
        return version


def is_registered(folder: Path, name: str, digest: str) -> bool:
    """Return whether the model has a version with ``digest``."""
    return _find_version(_client(folder), name, digest) is not None


def champion(folder: Path, name: str) -> int | None:
    """Return the version that the alias ``champion`` names, or None."""
    models = _client(folder).search_registered_models(filter_string=f"name = '{name}'")
    version = models[0].aliases.get(CHAMPION) if models else None
    return None if version is None else int(version)


def tracking_client(folder: Path) -> "MlflowClient":
    """Return the client of a workspace's tracker; its database is made when missing."""
    return _client(folder)


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested mappings as one level of dotted keys; lists and None become JSON."""
    flat: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            flat.update(flatten(item, f"{prefix}{key}."))
        else:
            is_plain = isinstance(item, str | int | float) and not isinstance(item, bool)
            flat[f"{prefix}{key}"] = str(item) if is_plain else json.dumps(item, default=str)
    return flat


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return evenly spaced points, the first and the last among them."""
    last = len(points) - 1
    count = min(len(points), _CURVE_POINTS)
    return [points[round(index * last / max(count - 1, 1))] for index in range(count)]


def _numbers(figures: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """Return the numbers among nested figures under dotted keys."""
    numbers: dict[str, float] = {}
    for key, item in figures.items():
        if isinstance(item, Mapping):
            numbers.update(_numbers(item, f"{prefix}{key}."))
        elif isinstance(item, int | float) and not isinstance(item, bool):
            numbers[f"{prefix}{key}"] = float(item)
    return numbers


def _find_version(client: "MlflowClient", name: str, digest: str) -> int | None:
    found = client.search_model_versions(
        f"name = '{name}' and tag.`{DIGEST_TAG}` = '{digest}'", max_results=1
    )
    return int(found[0].version) if found else None


def _experiment_id(client: "MlflowClient", folder: Path, name: str) -> str:
    with _registry_lock(folder):
        existing = client.get_experiment_by_name(name)
        if existing is not None:
            return str(existing.experiment_id)
        artifacts = (folder / "artifacts").resolve()
        return str(client.create_experiment(name, artifact_location=artifacts.as_uri()))


def _registry_lock(folder: Path) -> AbstractContextManager[None]:
    """Hold what is looked up and made when missing: MLflow makes two when two ask at once."""
    return exclusive_lock(
        folder / "locks" / "registry.lock", what="the model registry", is_waiting=True
    )


def _lock_of_run(folder: Path, experiment: str, run_name: str) -> Path:
    return folder / "locks" / f"{digest_json([experiment, run_name])[:16]}.lock"


def _close_abandoned(client: "MlflowClient", experiment_id: str, run_name: str) -> None:
    left = client.search_runs(
        [experiment_id],
        f"attributes.run_name = '{run_name}' and attributes.status = 'RUNNING'",
    )
    for run in left:
        client.set_terminated(run.info.run_id, status="KILLED")


def _log_inputs(client: "MlflowClient", run_id: str, inputs: Sequence[ArtifactRef]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    datasets = [
        DatasetInput(
            Dataset(
                name=f"{ref.asset}/{ref.partition}",
                digest=ref.digest[:_MLFLOW_DIGEST_CHARS],
                source_type="local",
                source=json.dumps({"uri": ref.uri, "digest": ref.digest}),
                schema=json.dumps({"schema_id": ref.schema_id}),
                profile=json.dumps({"rows": ref.rows, "as_of": ref.as_of}),
            ),
            tags=[
                InputTag("mlflow.data.context", "training"),
                InputTag(DIGEST_TAG, ref.digest),
                InputTag(LOGICAL_ID_TAG, ref.logical_id),
            ],
        )
        for ref in inputs
    ]
    if datasets:
        client.log_inputs(run_id, datasets)
        client.log_dict(run_id, {"inputs": [ref.to_json() for ref in inputs]}, "inputs.json")


@lru_cache(maxsize=8)
def _client(folder: Path) -> "MlflowClient":
    """Return the client of a workspace, its database made when missing."""
    for name, value in _MLFLOW_ENVIRONMENT.items():  # read when mlflow is imported
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "mlflow.db").exists():
        _make_database(folder)
    uri = tracking_uri(folder)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _make_database(folder: Path) -> None:
    """Make the database whole or not at all: half a migration cannot be resumed."""
    from mlflow import MlflowClient

    unfinished = folder / f".mlflow.{uuid.uuid4().hex}.tmp"
    try:
        MlflowClient(tracking_uri=f"sqlite:///{unfinished.resolve()}").search_experiments()
        os.link(unfinished, folder / "mlflow.db")
    except FileExistsError:
        pass  # another process was faster: its database holds
    finally:
        unfinished.unlink(missing_ok=True)
