"""A small log of events that the tests of this folder share."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assets.training_job import TrainingJob
from assets.training_process import thread_environment
from assets.workspace import Workspace, WorkspaceConfig
from lake.refs import ArtifactRef
from training.schema import TIMESTAMP, Action, ActionRole, EventSchema, Facet, FacetKind, Phase

DAY = date(2026, 1, 3)

# what a training process runs in these tests
TASKS = """\
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


@pytest.fixture(scope="session")
def schema() -> EventSchema:
    return EventSchema(
        name="films",
        exposure="impression",
        actions=(
            Action(name="play", role=ActionRole.TARGET),
            Action(name="dislike", role=ActionRole.NEGATIVE),
            Action(name="impression", role=ActionRole.IGNORED),
        ),
        facets=(
            Facet(name="device", kind=FacetKind.CATEGORICAL, phase=Phase.REQUEST),
            Facet(name="position", kind=FacetKind.NUMERIC, phase=Phase.REQUEST),
            Facet(name="genres", kind=FacetKind.MULTI_CATEGORICAL, phase=Phase.REQUEST),
            Facet(name="watch_ms", kind=FacetKind.DURATION, phase=Phase.OUTCOME),
        ),
    )


def _events(schema: EventSchema, *, rows: int = 200, day: date = DAY) -> pa.Table:
    draw = np.random.default_rng(7)
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1e6)
    at = pa.array(np.sort(draw.integers(0, 86_400_000_000, rows)) + start, pa.int64())
    columns: Mapping[str, Any] = {
        "event_id": [f"e{row}" for row in range(rows)],
        "user_id": [f"u{row % 20}" for row in range(rows)],
        "item_id": [f"i{row % 50}" for row in range(rows)],
        "action": ["impression" if row % 3 else "play" for row in range(rows)],
        "occurred_at": at.cast(TIMESTAMP),
        "received_at": at.cast(TIMESTAMP),
        "device": [None if row % 7 == 0 else "tv" for row in range(rows)],
        "position": [float(row % 10) for row in range(rows)],
        "genres": [["drama", "crime"]] * rows,
        "watch_ms": [None if row % 3 else row * 1000 for row in range(rows)],
    }
    return pa.table(columns, schema=schema.arrow_schema)


@pytest.fixture(scope="session")
def day() -> date:
    return DAY


@pytest.fixture(scope="session")
def make_events(schema: EventSchema) -> Callable[..., pa.Table]:
    """Return a maker of days without defects."""
    return partial(_events, schema)


@pytest.fixture(scope="session")
def events(make_events: Callable[..., pa.Table]) -> pa.Table:
    return make_events()


@pytest.fixture(scope="session")
def ref() -> ArtifactRef:
    return REF


@pytest.fixture(scope="session")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where MLflow is kept: one for all tests, because a database takes 2 s to make."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def tasks_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "own_tasks.py").write_text(TASKS)
    return folder


@pytest.fixture
def job(
    tmp_path: Path, mlflow_folder: Path, tasks_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., TrainingJob]:
    """Return a maker of jobs that run a task of ``TASKS``, here or in a process."""
    root = str(Path(__file__).parents[3])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tasks_folder), root]))
    monkeypatch.syspath_prepend(tasks_folder)
    for name in thread_environment(1):
        monkeypatch.setenv(name, "1")
    (tmp_path / "output").mkdir()

    def _job(task: str, **changes: Any) -> TrainingJob:
        made = TrainingJob(
            task=f"own_tasks:{task}",
            recipe="tiny",
            data={},
            as_of="2026-01-03T00:00:00+00:00",
            output=str(tmp_path / "output"),
            asset="fine_tuned_model",
            partition="2026-01-03",
            mlflow_folder=str(mlflow_folder),
            log_path=str(tmp_path / "logs" / "train.log"),
            inputs=(REF,),
        )
        return replace(made, **changes)

    return _job


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    config = WorkspaceConfig(
        source="simulated",
        source_parameters={},
        first_day=date(2026, 1, 11),
        last_day=date(2026, 2, 4),
        recipe="tiny",
    )
    return Workspace.create(tmp_path / "world", config)
