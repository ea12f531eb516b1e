"""The secret of erased users' hashes reaches whoever asks for it, from every entry point."""

from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from assets.events import build_raw_events, raw_events
from assets.resources import ref_io_manager, workspace_resource
from assets.watermark import wall_clock
from assets.workspace import Workspace, WorkspaceConfig
from lake.errors import ErasureError
from lake.objects import MemoryObjects
from lake.tombstones import KEY_VARIABLE, Tombstones
from marquee import demo, summary
from tests.unit.marquee.conftest import Marquee
from training.events.artifacts import read_events

DAYS = ("2026-01-01", "2026-01-02")
SECRET = "a long random text"
FINGERPRINT = Tombstones(MemoryObjects(), SECRET).fingerprint
CONFIG = WorkspaceConfig(
    source="simulated",
    source_parameters={"num_users": 200, "num_titles": 100, "first_day": DAYS[0], "num_days": 2},
    first_day=date(2026, 1, 1),
    last_day=date(2026, 1, 2),
    recipe="tiny",
)


@pytest.fixture
def log(workspace: Workspace) -> Workspace:
    """A workspace beside the one with versions, which the same command line reaches."""
    return Workspace.create(workspace.root.parent / "log", CONFIG)


def users_of(workspace: Workspace) -> list[str]:
    _, events = read_events(workspace.lake.path(workspace.lake.require("raw_events", DAYS[1])))
    return sorted(set(events["user_id"].drop_null().to_pylist()) - {""})


def with_dagster(root: Path) -> bool:
    """Take the second day in, as a run of the orchestrator does."""
    resources = {
        "workspace": workspace_resource.configured({"root": str(root)}),
        "clock": wall_clock,
        "io_manager": ref_io_manager,
    }
    with dg.instance_for_test() as instance:
        done = dg.materialize(
            [raw_events], partition_key=DAYS[1], resources=resources, instance=instance
        )
    return done.success


def test_who_is_erased_under_a_secret_is_taken_in_by_no_run(
    log: Workspace, marquee: Marquee, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = Workspace.create(tmp_path / "whole", CONFIG)
    build_raw_events(whole, DAYS[1], now=wall_clock())
    gone, *others = users_of(whole)

    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    assert marquee("erase", gone, "--yes", name="log").status == 0

    for other in ("", "another"):
        monkeypatch.setenv(KEY_VARIABLE, other)
        refused = marquee("erase", others[0], "--yes", name="log")
        assert refused.status == 1
        assert KEY_VARIABLE in refused.err
        with pytest.raises(ErasureError, match=KEY_VARIABLE):
            with_dagster(log.root)
        assert log.lake.find("raw_events", DAYS[1]) is None

    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    assert with_dagster(log.root)
    assert users_of(log) == others


def test_versions_are_erased_from_under_the_secret(
    workspace: Workspace, marquee: Marquee, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    assert marquee("erase", "user-3", "--yes").status == 0
    assert [one.key for one in workspace.store.state().erasures] == [FINGERPRINT]
    assert marquee("reconcile").status == 0
    assert marquee("doctor").status == 0

    monkeypatch.delenv(KEY_VARIABLE)
    refused = marquee("erase", "--yes")
    assert refused.status == 1
    assert KEY_VARIABLE in refused.err


def test_a_demo_opens_its_world_under_the_secret(
    workspace: Workspace, marquee: Marquee, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def run_demo(world: Workspace) -> float:
        opened.append(world.lake.tombstones().fingerprint)
        return 0.0

    monkeypatch.setattr(demo, "run_demo", run_demo)
    monkeypatch.setattr(summary, "show_summary", lambda *_, **__: None)
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    for _ in ("made", "opened again"):
        assert marquee("demo", name="other").status == 0
    assert opened == [FINGERPRINT, FINGERPRINT]


def test_the_secret_is_in_no_text(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "world", CONFIG, erasure_key=SECRET)
    assert SECRET not in f"{workspace!r} {workspace.store!r} {workspace.lake!r}"
    assert workspace == Workspace.open(tmp_path / "world")
    assert SECRET not in (tmp_path / "world" / "workspace.json").read_text()
