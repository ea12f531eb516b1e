"""Collection in a small workspace with a log, runs of the orchestrator and runs of the tracker."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.acceptance import accept
from assets.collection import RetentionPolicy, collect_workspace
from assets.pages import pages_folder, report_path
from assets.run_collection import collect_orchestrated, collect_tracked
from assets.tracking import mlflow_run, register_model, tracking_client
from assets.workspace import Workspace, WorkspaceConfig
from embedding_store.entries import ConsumerRegistered
from embedding_store.publisher import Publisher
from lake.collecting import Collected
from lake.lake import Step, Written
from lake.log import CHECKPOINT_EVERY
from lake.refs import ArtifactRef

DAY = "2026-01-01"
CONFIG = WorkspaceConfig(
    source="simulated",
    source_parameters={"num_users": 10, "num_titles": 10, "first_day": DAY, "num_days": 1},
    first_day=date(2026, 1, 1),
    last_day=date(2026, 1, 1),
    recipe="tiny",
)
LATER = datetime.now(UTC) + timedelta(days=365)
POLICY = RetentionPolicy()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "world", CONFIG)


def build(workspace: Workspace, asset: str, text: str, *inputs: ArtifactRef) -> ArtifactRef:
    with mlflow_run(
        workspace.mlflow_dir, "models", f"{asset} {text}", parameters={}, inputs=[]
    ) as (
        _,
        run_id,
    ):
        pass

    def write(folder: Path) -> Written:
        (folder / "data.txt").write_text(text)
        return Written(1, {"run_id": run_id})

    step = Step(
        asset=asset, partition=DAY, schema_id=asset, as_of="2026-01-02", code=text, inputs=inputs
    )
    return workspace.lake.build(step, write).ref


def collected(
    workspace: Workspace, *, now: datetime = LATER, is_rehearsal: bool = False
) -> list[Collected]:
    return list(collect_workspace(workspace, None, POLICY, now=now, is_rehearsal=is_rehearsal))


def test_what_the_log_accepted_stays_with_its_judgement_and_its_run(workspace: Workspace) -> None:
    old, accepted = (build(workspace, "fine_tuned_model", text) for text in ("old", "accepted"))
    judged = [
        build(workspace, "model_evaluation", text, one)
        for text, one in (("of old", old), ("of accepted", accepted))
    ]
    accept(
        workspace,
        accepted,
        role="daily",
        effective_at=datetime(2026, 1, 2, tzinfo=UTC),
        metrics={},
        why="a test",
    )
    newest = build(workspace, "fine_tuned_model", "newest")
    judged.append(build(workspace, "model_evaluation", "of newest", newest))
    picture = pages_folder(workspace.root) / "pictures" / "fine_tuned_model"
    picture.mkdir(parents=True)
    for ref in (old, newest):
        (picture / f"{DAY}-{ref.digest[:16]}.png").write_bytes(b"a picture")
        report = report_path(workspace.root, ref.asset, DAY, ref.digest)
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text("figures")
    log = workspace.root / "logs" / "training.log"
    log.parent.mkdir()
    log.write_text("lines")

    assert collected(workspace, now=datetime.now(UTC)) == []
    told = collected(workspace, is_rehearsal=True)
    assert all(path.exists() for path in (*picture.iterdir(), log))
    done = collected(workspace)

    assert done == told
    assert collected(workspace) == []
    models = workspace.lake.references("fine_tuned_model", DAY).values()
    assert {ref.logical_id for ref in models} == {accepted.logical_id, newest.logical_id}
    evaluations = workspace.lake.references("model_evaluation", DAY).values()
    assert {ref.logical_id for ref in evaluations} == {one.logical_id for one in judged[1:]}
    for ref in (*models, *evaluations):
        workspace.lake.verify(ref)
        tracking_client(workspace.mlflow_dir).get_run(ref.figures["run_id"])
    assert sorted(one.what for one in done) == [
        "artifacts that nothing names",
        "artifacts that nothing names",
        "pictures and reports",
        "pictures and reports",
        "references that others replaced",
        "references that others replaced",
        "runs of MLflow",
        "runs of MLflow",
        "training logs",
    ]


def test_checkpoints_of_the_log_go_but_for_the_newest_two(workspace: Workspace) -> None:
    publisher = Publisher(workspace.store, by="test")
    for number in range(3 * CHECKPOINT_EVERY):
        consumer = ConsumerRegistered(name=str(number), frame=1)
        publisher.register_consumer(consumer, effective_at=LATER, why="a test")
    names = list(workspace.store.objects.list("log-checkpoints"))
    assert [one.name for one in collected(workspace, is_rehearsal=True)] == names[:1]
    assert list(workspace.store.objects.list("log-checkpoints")) == names
    assert [one.name for one in collected(workspace)] == names[:1]
    assert list(workspace.store.objects.list("log-checkpoints")) == names[1:]


def test_unfinished_work_of_killed_processes_goes_and_that_of_living_ones_stays(
    workspace: Workspace,
) -> None:
    scratch = workspace.root / "lake" / "tmp"
    gone = scratch / f"{2**22 + 1}-x"  # above every process id
    gone.mkdir(parents=True)
    (gone / "part").write_bytes(b"1234")

    with workspace.lake.storage.folders.staged() as staged:
        assert [(one.name, one.num_bytes) for one in collected(workspace)] == [
            (gone.relative_to(workspace.root).as_posix(), 4)
        ]
        assert list(scratch.iterdir()) == [staged]


def test_runs_of_registered_models_stay_and_others_go_for_good(
    workspace: Workspace, tmp_path: Path
) -> None:
    folder = workspace.mlflow_dir
    refs = [build(workspace, "fine_tuned_model", text) for text in ("a", "b", "c")]
    runs = [ref.figures["run_id"] for ref in refs]
    register_model(folder, "model", refs[0], run_id=runs[0], metrics={})
    client = tracking_client(folder)
    client.log_text(runs[2], "lines", "notes.txt")
    running = client.create_run("1").info.run_id

    done = list(collect_tracked(folder, before=LATER, needed={runs[1]}, is_rehearsal=False))

    assert [one.name for one in done] == [runs[2]]
    assert done[0].num_bytes == 5
    experiments = [one.experiment_id for one in client.search_experiments()]
    left = {run.info.run_id for run in client.search_runs(experiments, run_view_type=3)}
    assert left == {runs[0], runs[1], running}
    assert not (folder / "artifacts" / runs[2]).exists()
    assert list(collect_tracked(folder, before=LATER, needed={runs[1]}, is_rehearsal=False)) == []


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield instance


def test_runs_with_the_newest_of_a_partition_stay(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    days = dg.StaticPartitionsDefinition(["a", "b"])

    @dg.asset(partitions_def=days)
    def events() -> None: ...

    first, _, again, failed = [
        dg.materialize([one], partition_key=day, instance=instance, raise_on_error=False).run_id
        for one, day in ((events, "a"), (events, "b"), (events, "a"), (failing(days), "a"))
    ]
    home = tmp_path / "dagster"

    young = collect_orchestrated(
        instance, home, before=datetime.now(UTC) - timedelta(days=1), is_rehearsal=False
    )
    assert list(young) == []
    done = [
        list(collect_orchestrated(instance, home, before=LATER, is_rehearsal=is_rehearsal))
        for is_rehearsal in (True, False, False)
    ]

    assert done[0] == done[1]
    assert {one.name for one in done[0]} == {first, failed}
    assert done[2] == []
    assert not list(home.rglob(f"{first}*"))
    newest = instance.fetch_materializations(dg.AssetKey("events"), 10).records
    assert {record.partition_key for record in newest} == {"a", "b"}
    assert instance.get_run_by_id(again) is not None


def failing(days: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(partitions_def=days)
    def broken() -> None:
        raise ValueError

    return broken
