import os
import shutil
from pathlib import Path

import pytest

from assets.workspace import Workspace
from feature_repo.lookup import open_features
from feature_repo.projection import reconcile
from marquee.operations import sentence
from tests.unit.embedding_store.small_world import SmallWorld, instant
from tests.unit.marquee.conftest import Marquee


def stable(workspace: Workspace) -> str:
    """What consumers get, which must be what the log says."""
    served = open_features(workspace.feast_dir).version
    held = workspace.store.state().stable(1)
    assert held is not None
    assert served == held.name
    return served


def lose_files(workspace: Workspace, number: int) -> None:
    shutil.rmtree(workspace.store.version_folder(workspace.store.state().version(number).digest))


def test_rolling_back_and_forward_again(workspace: Workspace, marquee: Marquee) -> None:
    back = marquee("rollback", "--why", "a drill")
    assert (back.status, stable(workspace)) == (0, "v1")
    assert "stable of frame 1 is v1 from 2024-03-03 01:00:01 UTC on" in back.out

    forward = marquee("promote", "2", "--why", "it was fine", "--by", "ann")
    assert (forward.status, stable(workspace)) == (0, "v2")
    assert "stable of frame 1 is v2 from 2024-03-03 01:00:02 UTC on" in forward.out
    entry = workspace.store.log.entries()[-1]
    assert (entry.by, entry.why) == ("ann", "it was fine")
    assert entry.body["judged_against"] == workspace.store.state().version(1).digest


@pytest.mark.parametrize("command", [("rollback", "--to", "2"), ("promote", "2")])
def test_what_is_stable_already_is_not_said_to_have_switched(
    workspace: Workspace, marquee: Marquee, command: tuple[str, ...]
) -> None:
    before = workspace.store.state().seq
    answer = marquee(*command)
    assert answer.status == 0
    assert "is v2 already, since 2024-03-03 01:00:00 UTC: nothing was switched" in answer.out
    assert workspace.store.state().seq == before


def test_a_published_version_that_never_served_can_be_promoted(
    world: SmallWorld, workspace: Workspace, marquee: Marquee
) -> None:
    world.publish(2, effective_at=instant(5))
    answer = marquee("promote", "3")
    assert (answer.status, stable(workspace)) == (0, "v3")
    assert "from 2024-03-06 00:00:00 UTC on" in answer.out


def test_a_retired_version_is_gone_for_good(workspace: Workspace, marquee: Marquee) -> None:
    answer = marquee("retire", "1", "--why", "old")
    assert answer.status == 0
    assert "v1 of 2024-03-01 is retired" in answer.out
    assert workspace.store.log.entries()[-1].why == "old"
    assert "retired already" in marquee("retire", "1").out
    for command in (("promote", "1"), ("rollback",), ("rollback", "--to", "1")):
        assert marquee(*command).status == 1
    assert stable(workspace) == "v2"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("retire", "2"), "v2 is stable of frame 1"),
        (("retire", "9"), "no version v9"),
        (("promote", "9"), "no version v9"),
        (("promote", "x"), "want a version such as v3 or 3"),
        (("rollback", "--to", "9"), "no version v9"),
    ],
)
def test_what_cannot_be_done_is_an_error(
    workspace: Workspace, marquee: Marquee, command: tuple[str, ...], message: str
) -> None:
    before = workspace.store.state().seq
    answer = marquee(*command)
    assert answer.status != 0
    assert message in answer.err
    assert workspace.store.state().seq == before


def test_a_damaged_stable_version_is_rolled_back_from(
    workspace: Workspace, marquee: Marquee
) -> None:
    lose_files(workspace, 2)
    stuck = marquee("reconcile")
    assert stuck.status == 1
    assert "v2 is stable of frame 1, but cannot be read" in stuck.err
    assert "`marquee rollback`" in stuck.err

    assert marquee("rollback").status == 0

    assert stable(workspace) == "v1"
    assert open_features(workspace.feast_dir).users(["user-7"]).is_found.all()
    assert "1 damaged, as warned" in marquee("reconcile").out
    assert marquee("promote", "2").status == 1
    assert marquee("retire", "2").status == 0
    assert "damaged" not in marquee("reconcile").out


def damage_online_rows(workspace: Workspace) -> None:
    for path in workspace.feast_dir.glob("online.db*"):
        path.write_bytes(b"damaged" * 1000)


def test_a_change_behind_a_log_that_lost_its_end_is_refused(
    workspace: Workspace, marquee: Marquee
) -> None:
    entries = sorted((workspace.store.root / "log").glob("*.json"))
    entries[-1].unlink()

    answer = marquee("rollback")

    assert answer.status == 1
    assert "it is an older or another log; restore it" in answer.err
    assert sorted((workspace.store.root / "log").glob("*.json")) == entries[:-1]


def test_a_switch_that_feast_does_not_follow_yet_says_what_to_run(
    workspace: Workspace, marquee: Marquee
) -> None:
    damage_online_rows(workspace)
    answer = marquee("rollback")
    assert answer.status == 1
    assert "it is in the log" in answer.err
    assert "`marquee reconcile`, not `rollback` again" in answer.err
    assert workspace.store.state().stable(1).name == "v1"
    for path in workspace.feast_dir.glob("online.db*"):
        path.unlink()
    assert marquee("reconcile").status == 0
    assert stable(workspace) == "v1"


def test_a_reconciliation_is_told_in_a_sentence(workspace: Workspace, marquee: Marquee) -> None:
    answer = marquee("reconcile")
    assert answer.out == "nothing to do: Feast shows 4 views, as the 4 entries of the log say"
    shutil.rmtree(workspace.feast_dir)
    shutil.rmtree(workspace.store.root / "history")
    told = sentence(reconcile(workspace.root))
    assert told == (
        "4 parts of the served history written, 200 online rows written to 4 views, the registry "
        "replaced: Feast shows 4 views, as the 4 entries of the log say"
    )


def test_a_sweep_removes_what_dead_processes_left_and_nothing_else(
    workspace: Workspace, marquee: Marquee
) -> None:
    dead = max_process() + 1
    left = [root / "tmp" / f"{dead}-x" for root in (workspace.lake.root, workspace.store.root)]
    living = workspace.store.root / "tmp" / f"{os.getpid()}-x"
    for folder in (*left, living):
        folder.mkdir(parents=True)

    assert marquee("sweep").status == 0

    assert [one.exists() for one in (*left, living)] == [False, False, True]


def max_process() -> int:
    """The largest id that a process of this machine may have."""
    return int(Path("/proc/sys/kernel/pid_max").read_text())


def test_a_version_that_somebody_pins_is_not_retired(
    workspace: Workspace, marquee: Marquee, tmp_path: Path
) -> None:
    file = workspace.root / "consumers" / "home.ranker.yaml"
    file.parent.mkdir()
    file.write_text(
        "format_version: 1\nteam: home\nservice: ranker\nframe: 1\ndim: 8\nfreshness_h: 9999\n"
        "coverage: 0.9\npin: 1\n"
    )
    answer = marquee("retire", "1")
    assert answer.status == 1
    assert "v1 is pinned by home/ranker" in answer.err
    assert not workspace.store.state().version(1).is_retired
