"""Collects old runs of the orchestrator and of the tracker, through their own interfaces."""

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from assets.errors import TrackingError
from assets.tracking import tracking_client, tracking_uri
from lake.collecting import Collected

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

_PAGE_RECORDS = 200
_RUNS_AT_ONCE = 500  # of one command line
_FINISHED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]


def collect_orchestrated(
    instance: dg.DagsterInstance, home: Path, *, before: datetime, is_rehearsal: bool
) -> Iterator[Collected]:
    """Delete Dagster's runs that ended before an instant and yield each; a rehearsal only yields.

    A run that made the newest materialization of a partition stays.
    """
    kept = {run for key in instance.all_asset_keys() for run in _newest_runs(instance, key)}
    for record in instance.get_run_records(dg.RunsFilter(statuses=_FINISHED)):
        run_id = record.dagster_run.run_id
        ended_at = record.end_time or record.create_timestamp.timestamp()
        if run_id in kept or ended_at >= before.timestamp():
            continue
        shards = sorted((home / "history" / "runs").glob(f"{run_id}.db*"))
        outputs = home / "storage" / run_id
        size = bytes_below(outputs) + sum(path.stat().st_size for path in shards)
        yield Collected("runs of Dagster", run_id, size)
        if not is_rehearsal:
            instance.delete_run(run_id)
            instance.compute_log_manager.delete_logs(prefix=[run_id])
            shutil.rmtree(outputs, ignore_errors=True)
            for path in shards:  # dagster 1.13 empties the run's own database and leaves the file
                path.unlink(missing_ok=True)


def _newest_runs(instance: dg.DagsterInstance, asset: dg.AssetKey) -> set[str]:
    """Return the runs that made the newest materialization of each partition."""
    runs: dict[str | None, str] = {}
    cursor, has_more = None, True
    while has_more:
        page = instance.fetch_materializations(asset, _PAGE_RECORDS, cursor)
        for record in page.records:  # the newest first
            runs.setdefault(record.partition_key, record.run_id)
        cursor, has_more = page.cursor, page.has_more
    return set(runs.values())


def registered_folders(folder: Path, name: str) -> set[str]:
    """Return where in the lake the versions of a registered model are."""
    if not (folder / "mlflow.db").exists():
        return set()
    return {str(one.source) for one in _versions(tracking_client(folder), name)}


def collect_tracked(
    folder: Path, *, before: datetime, needed: Collection[str], is_rehearsal: bool
) -> Iterator[Collected]:
    """Delete MLflow's runs that ended before an instant for good and yield each.

    Those of registered models and the ``needed`` ones stay. A rehearsal only yields.
    """
    if not (folder / "mlflow.db").exists():
        return
    client = tracking_client(folder)
    models = client.search_registered_models()
    registered = {one.run_id for model in models for one in _versions(client, model.name)}
    old = [
        run
        for run in _finished_runs(client)
        if run.info.run_id not in registered.union(needed)
        and (run.info.end_time or run.info.start_time) < before.timestamp() * 1000
    ]
    for run in old:
        size = bytes_below(folder / "artifacts" / run.info.run_id)
        yield Collected("runs of MLflow", run.info.run_id, size)
        if not is_rehearsal and run.info.lifecycle_stage == "active":
            client.delete_run(run.info.run_id)
    if old and not is_rehearsal:
        _delete_for_good(folder, [run.info.run_id for run in old])
        for run in old:  # mlflow 3.17 leaves the run's folder, empty
            shutil.rmtree(folder / "artifacts" / run.info.run_id, ignore_errors=True)


def _versions(client: "MlflowClient", name: str) -> "Iterator[ModelVersion]":
    token, has_more = None, True
    while has_more:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        yield from page
        token, has_more = page.token, bool(page.token)


def _finished_runs(client: "MlflowClient") -> "Iterator[Run]":
    """Yield the runs that ended, also those that somebody deleted and may restore."""
    from mlflow.entities import ViewType

    experiments = [one.experiment_id for one in client.search_experiments(ViewType.ALL)]
    token, has_more = None, True
    while has_more:
        page = client.search_runs(
            experiments,
            "attributes.status != 'RUNNING'",
            run_view_type=ViewType.ALL,
            page_token=token,
        )
        yield from page
        token, has_more = page.token, bool(page.token)


def _delete_for_good(folder: Path, run_ids: Sequence[str]) -> None:
    """Delete what is marked as deleted, by MLflow's own command: its Python interface has none."""
    uri = tracking_uri(folder)
    for start in range(0, len(run_ids), _RUNS_AT_ONCE):
        named = ",".join(run_ids[start : start + _RUNS_AT_ONCE])
        command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", uri]
        done = subprocess.run(  # noqa: S603 - our own interpreter and addresses
            [*command, "--tracking-uri", uri, "--run-ids", named],
            env={"MLFLOW_DISABLE_TELEMETRY": "true", **os.environ},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise TrackingError(
                f"mlflow gc ended with {done.returncode}: {done.stderr.strip()[-500:]}: the runs "
                "are marked as deleted; run the same command again"
            )


def bytes_below(folder: Path) -> int:
    """Return the bytes of all files below a folder; none where there is no folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
