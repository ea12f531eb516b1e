"""What the DAGs ask of Dagster, and what they make of each of its answers."""

import importlib
import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.unit.dags.conftest import FakeDagster

DAY = "2026-02-03"
TAG = f"marquee_daily/{DAY}"


def look(lifecycle: ModuleType, *, attempt: str = "first") -> Any:
    with lifecycle.DAG("marquee_daily", schedule=None):
        task = lifecycle.DagsterPartition(task_id="refresh", job="daily_refresh", partition=DAY)
    return task.poke({"ti": SimpleNamespace(id=attempt)})


def test_the_first_look_launches_the_job_for_its_partition(
    lifecycle: ModuleType, dagster: FakeDagster
) -> None:
    assert not look(lifecycle)
    [run] = dagster.runs
    assert {one["key"]: one["value"] for one in run["tags"]} == {
        "dagster/partition": DAY,
        "marquee/airflow_run": TAG,
        "marquee/airflow_attempt": "first",
    }
    assert run["selector"] == {
        "repositoryLocationName": "marquee",
        "repositoryName": "__repository__",
        "jobName": "daily_refresh",
    }


@pytest.mark.parametrize(
    "status", ["QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING", "MANAGED"]
)
def test_a_run_that_is_not_over_is_waited_for(
    lifecycle: ModuleType, dagster: FakeDagster, status: str
) -> None:
    dagster.add_run(status, tag=TAG)
    assert not look(lifecycle)
    assert len(dagster.runs) == 1


def test_a_run_that_succeeded_is_enough_whoever_launched_it(
    lifecycle: ModuleType, dagster: FakeDagster
) -> None:
    dagster.add_run("FAILURE", tag=TAG)
    run_id = dagster.add_run("SUCCESS", tag=TAG)
    done = look(lifecycle)
    assert done
    assert done.xcom_value == {"partition": DAY, "dagster_run": run_id}
    assert len(dagster.runs) == 2


@pytest.mark.parametrize("status", ["FAILURE", "CANCELED"])
def test_what_failed_in_this_attempt_fails_it_and_is_named(
    lifecycle: ModuleType, dagster: FakeDagster, status: str
) -> None:
    look(lifecycle, attempt="first")
    dagster.runs[0]["status"] = status
    with pytest.raises(lifecycle.DagsterError, match=f"{DAY} is {status}: see .*/runs/run-1"):
        look(lifecycle, attempt="first")
    assert len(dagster.runs) == 1


@pytest.mark.parametrize("status", ["FAILURE", "CANCELED"])
def test_a_retry_launches_what_failed_again(
    lifecycle: ModuleType, dagster: FakeDagster, status: str
) -> None:
    look(lifecycle, attempt="first")
    dagster.runs[0]["status"] = status
    assert not look(lifecycle, attempt="second")
    assert [run["status"] for run in dagster.runs] == ["QUEUED", status]
    assert not look(lifecycle, attempt="second")
    assert len(dagster.runs) == 2


def test_a_failed_run_that_dagster_retries_itself_is_waited_for(
    lifecycle: ModuleType, dagster: FakeDagster
) -> None:
    dagster.add_run("FAILURE", tag=TAG, **{"dagster/will_retry": "true"})
    assert not look(lifecycle)
    assert len(dagster.runs) == 1


def test_another_partitions_run_is_no_reason_to_wait(
    lifecycle: ModuleType, dagster: FakeDagster
) -> None:
    dagster.add_run("SUCCESS", tag="marquee_daily/2026-02-02")
    assert not look(lifecycle)
    assert len(dagster.runs) == 2


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_restarting_webserver_behind_a_proxy_is_waited_for(
    lifecycle: ModuleType, dagster: FakeDagster, status: int
) -> None:
    dagster.raw = (status, b"no upstream")
    assert not look(lifecycle)
    dagster.raw = None
    assert not look(lifecycle)
    assert len(dagster.runs) == 1


def test_an_answer_that_is_cut_off_is_asked_for_again(
    lifecycle: ModuleType, dagster: FakeDagster
) -> None:
    dagster.raw = (200, b"")  # and a length of one
    assert not look(lifecycle)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://nowhere.invalid:3000"])
def test_a_webserver_that_is_not_there_is_waited_for(
    lifecycle: ModuleType, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("MARQUEE_DAGSTER_URL", url)
    assert not look(lifecycle)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ((404, b"Not Found"), "answered 404: Not Found"),
        ((401, b"who are you"), "answered 401: who are you"),
        ((200, b"<html>"), "answered no JSON: b'<html>'"),
        ((200, b'{"errors": [{"message": "Cannot query field"}]}'), "Cannot query field"),
        (
            (
                200,
                b'{"data": {"runsOrError": {"__typename": "PythonError", "message": "locked"}}}',
            ),
            "PythonError: locked",
        ),
    ],
)
def test_an_answer_that_waiting_does_not_mend_fails(
    lifecycle: ModuleType, dagster: FakeDagster, raw: tuple[int, bytes], message: str
) -> None:
    dagster.raw = raw
    with pytest.raises(lifecycle.DagsterError, match=message):
        look(lifecycle)


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (
            {"__typename": "PipelineNotFoundError", "message": "Could not find Pipeline x.y.z"},
            "PipelineNotFoundError: Could not find Pipeline x.y.z",
        ),
        (
            {"__typename": "UnauthorizedError", "message": "Authorization failed"},
            "UnauthorizedError: Authorization failed",
        ),
        (
            {
                "__typename": "RunConfigValidationInvalid",
                "errors": [{"message": "Received unexpected config entry"}],
            },
            "RunConfigValidationInvalid: Received unexpected config entry",
        ),
    ],
)
def test_a_refused_launch_fails_with_the_reason(
    lifecycle: ModuleType, dagster: FakeDagster, refusal: dict[str, Any], message: str
) -> None:
    dagster.refusal = refusal
    with pytest.raises(lifecycle.DagsterError, match=message):
        look(lifecycle)


def test_a_job_in_no_or_in_two_code_locations_is_refused(
    lifecycle: ModuleType, dagster: FakeDagster
) -> None:
    for locations in ([], ["marquee", "staging"]):
        dagster.locations = locations
        with pytest.raises(lifecycle.DagsterError, match="want one code location"):
            look(lifecycle)


def test_the_code_location_can_be_named(
    lifecycle: ModuleType, dagster: FakeDagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    dagster.locations = ["marquee", "staging"]
    monkeypatch.setenv("MARQUEE_DAGSTER_LOCATION", "staging")
    look(lifecycle)
    assert dagster.runs[0]["selector"]["repositoryLocationName"] == "staging"


def test_a_token_is_sent_and_never_shown(
    lifecycle: ModuleType, dagster: FakeDagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(lifecycle)
    assert "Authorization" not in dagster.headers
    monkeypatch.setenv("MARQUEE_DAGSTER_TOKEN", "s3cret")
    look(lifecycle)
    assert dagster.headers["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(lifecycle.Dagster.from_environment())


def test_an_address_of_no_webserver_is_refused(lifecycle: ModuleType) -> None:
    with pytest.raises(lifecycle.DagsterError, match=r"want http:// or https://, got 'file:///x'"):
        lifecycle.Dagster(url="file:///x")


def text(label: str, value: str) -> dict[str, str]:
    return {"label": label, "text": value}


def announced(lifecycle: ModuleType) -> list[Any]:
    from airflow.sdk.execution_time.context import OutletEventAccessors

    events = OutletEventAccessors()
    made = {"partition": DAY, "dagster_run": "run-1"}
    lifecycle.announce.function(made, outlet_events=events)
    return list(events[lifecycle.EMBEDDINGS].asset_alias_events)


def published(dagster: FakeDagster, *, stable: str) -> None:
    dagster.metadata["published_version", DAY] = [
        text("version", "v3"),
        text("digest", "63d9c67b"),
        {"label": "frame", "intValue": 1},
        {"label": "skipped"},
        {"label": "gates"},
    ]
    dagster.metadata["served_features", DAY] = [text("version", "v3"), text("stable is", stable)]


def test_a_new_stable_version_is_an_asset_event_with_its_identity(
    lifecycle: ModuleType, dagster: FakeDagster
) -> None:
    published(dagster, stable="v3")
    [event] = announced(lifecycle)
    assert event.dest_asset_key.uri == "marquee://embeddings/f1/stable"
    assert event.extra == {
        "version": "v3",
        "digest": "63d9c67b",
        "day": DAY,
        "dagster_run": "run-1",
    }


def test_a_version_that_is_not_promoted_is_no_news(
    lifecycle: ModuleType, dagster: FakeDagster
) -> None:
    published(dagster, stable="v4")
    assert announced(lifecycle) == []


def test_a_day_that_published_nothing_fails_the_announcement(
    lifecycle: ModuleType, dagster: FakeDagster
) -> None:
    with pytest.raises(lifecycle.DagsterError, match=f"no materialization of published_.* {DAY}"):
        announced(lifecycle)


@pytest.mark.parametrize(
    ("due_at", "day", "month"),
    [
        (datetime(2026, 2, 4, 7, tzinfo=UTC), date(2026, 2, 3), date(2026, 1, 1)),
        (datetime(2026, 2, 4, 6, 59, tzinfo=UTC), date(2026, 2, 2), date(2026, 1, 1)),
        (
            datetime(2026, 2, 4, 7, tzinfo=timezone(timedelta(hours=1))),
            date(2026, 2, 2),
            date(2026, 1, 1),
        ),
        (datetime(2026, 3, 1, 12, tzinfo=UTC), date(2026, 2, 28), date(2026, 2, 1)),
        (datetime(2026, 3, 1, 6, tzinfo=UTC), date(2026, 2, 27), date(2026, 1, 1)),
        (datetime(2026, 1, 1, 12, tzinfo=UTC), date(2025, 12, 31), date(2025, 12, 1)),
    ],
)
def test_the_instant_says_which_partition_is_due(
    lifecycle: ModuleType, due_at: datetime, day: date, month: date
) -> None:
    assert lifecycle.newest_day(due_at) == day
    assert lifecycle.newest_month(due_at) == month


def test_the_calendar_is_that_of_dagsters_own_schedules(lifecycle: ModuleType) -> None:
    from assets.definitions import defs

    schedules = defs.get_repository_def().schedule_defs
    crons = {schedule.job_name: schedule.cron_schedule for schedule in schedules}
    assert lifecycle.daily.timetable.expression == crons["daily_refresh"]
    assert lifecycle.monthly.timetable.expression == crons["monthly_pretraining"]


@pytest.mark.parametrize(
    ("delay_h", "daily", "monthly"),
    [("7", "0 7 * * *", "0 12 1 * *"), ("20.5", "30 20 * * *", "30 1 2 * *")],
)
def test_the_delay_moves_the_calendar(
    lifecycle: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    delay_h: str,
    daily: str,
    monthly: str,
) -> None:
    monkeypatch.setenv("MARQUEE_REFRESH_DELAY_H", delay_h)
    try:
        moved = importlib.reload(lifecycle)
        assert moved.daily.timetable.expression == daily
        assert moved.monthly.timetable.expression == monthly
    finally:
        monkeypatch.undo()
        importlib.reload(lifecycle)


def test_waiting_holds_no_worker(lifecycle: ModuleType) -> None:
    for dag, name in ((lifecycle.daily, "refresh"), (lifecycle.monthly, "pretrain")):
        assert dag.get_task(name).reschedule


def test_the_file_parses_in_half_a_second_and_loads_nothing_heavy(
    dag_file: Path, tmp_path: Path
) -> None:
    """Whatever Airflow itself takes is not counted: every component has it loaded already."""
    script = (
        "import json, runpy, sys, time\n"
        "import airflow.dag_processing.dagbag\n"
        "from airflow.sdk import (DAG, Asset, AssetAlias, BaseSensorOperator, Context,\n"
        "    CronTriggerTimetable, PokeReturnValue, task)\n"
        "task.python\n"
        "before, started = set(sys.modules), time.process_time()\n"
        f"runpy.run_path({str(dag_file)!r})\n"
        "took = time.process_time() - started\n"
        "loaded = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(json.dumps([took, sorted(loaded)]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    took, loaded = json.loads(done.stdout.splitlines()[-1])
    assert took < 0.5
    ours = {"lake", "embedding_store", "feature_repo", "training", "assets", "marquee", "dags"}
    assert not {*ours, "dagster", "torch", "pandas", "numpy", "pyarrow"} & set(loaded)
