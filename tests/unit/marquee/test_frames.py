from pathlib import Path

import pytest

from assets.workspace import Workspace
from feature_repo.projection import reconcile
from tests.unit.embedding_store.small_world import SmallWorld, raw_world
from tests.unit.marquee.conftest import NAME, Marquee
from tests.unit.marquee.test_consumers import FILE


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    """Two versions in frame 1, then one of another dim, which opened frame 2; projected."""
    world = SmallWorld(tmp_path / NAME)
    world.serve(0, 1)
    SmallWorld(world.folder, raw_world(dim=6), frame=2)._serve((4,))
    reconcile(world.folder)
    return world


def test_the_frames_are_told_with_their_reason_and_their_readers(
    marquee: Marquee, tmp_path: Path
) -> None:
    (tmp_path / "ours.yaml").write_text(FILE)
    marquee("consumers", "register", str(tmp_path / "ours.yaml"))
    told = marquee("frames").out
    assert "1 8 2024-03-01 v2 of 2024-03-02 3 days home-page/ranker kept, gets no" in told
    assert "2 6 2024-03-05 v3 of 2024-03-05 0 days nobody days go here" in told
    assert "frame 2 was opened beside frame 1: the vectors have dim 6, frame 1 has dim 8" in told
    status = marquee("status").out
    assert "stable v3 of 2024-03-05 (frame 2)" in status
    assert (
        "frame 1 serves v2 of 2024-03-02, 3 days behind, days go to frame 2; read by "
        "home-page/ranker" in status
    )
    assert "wants data of the last 24 h, its is" in marquee("consumers", "check").out


def test_commands_mean_the_newest_frame_unless_another_one_is_named(
    marquee: Marquee, workspace: Workspace
) -> None:
    assert "stable v2 of 2024-03-02 (frame 1)" in marquee("status", "--frame", "1").out
    assert "frame 7 serves nothing" in marquee("status", "--frame", "7").err
    assert marquee("rollback").status == 1  # frame 2 has but one version
    assert "stable of frame 1 is v1" in marquee("rollback", "--frame", "1").out
    assert "stable of frame 1 is v2" in marquee("promote", "2").out
    assert "stable of frame 1 is v1" in marquee("rollback", "--to", "1").out
    assert workspace.store.state().stable(2).number == 3
    told = marquee("doctor").out
    assert "embeddings_f1_stable answers with v1, embeddings_f2_stable answers with v3" in told


def test_a_frame_is_retired_once_nobody_reads_it(
    marquee: Marquee, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "ours.yaml").write_text(FILE)
    marquee("consumers", "register", str(tmp_path / "ours.yaml"))
    refused = marquee("retire-frame", "1")
    assert refused.status == 1
    assert "frame 1 is read by home-page/ranker: when a service reads another one" in refused.err
    assert "only a frame that another one took over from" in marquee("retire-frame", "2").err
    removed = marquee("consumers", "remove", "home-page/ranker")
    assert (removed.status, removed.out) == (0, "home-page/ranker is not registered any more")
    assert (
        "is not registered: `marquee consumers"
        in marquee("consumers", "remove", "home-page/ranker").err
    )
    assert not workspace.store.state().consumers
    assert list((workspace.root / "consumers").iterdir()) == []

    done = marquee("retire-frame", "1", "--why", "nobody reads it")

    assert (done.status, done.out[:20]) == (0, "frame 1 is retired: ")
    assert workspace.store.log.entries()[-1].why == "nobody reads it"
    assert "retired already" in marquee("retire-frame", "1").out
    assert "1 8 2024-03-01 nobody retired" in marquee("frames").out
    assert "frame 1" not in marquee("status").out.replace("beside frame 1", "")
    assert marquee("doctor").out.count("bad ") == 0
    again = marquee("consumers", "register", str(tmp_path / "ours.yaml"))
    assert "wants frame 1, which is retired" in again.err


def test_a_file_of_a_retired_frame_is_told(marquee: Marquee, workspace: Workspace) -> None:
    """As where a registry of files was brought back from a copy."""
    marquee("retire-frame", "1")
    (workspace.root / "consumers").mkdir()
    (workspace.root / "consumers" / "home-page.ranker.yaml").write_text(FILE)
    assert "wants frame 1, which is retired" in marquee("consumers", "check").out


def test_who_stands_in_the_log_alone_is_removed_too(
    marquee: Marquee, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "ours.yaml").write_text(FILE)
    marquee("consumers", "register", str(tmp_path / "ours.yaml"))
    (workspace.root / "consumers" / "home-page.ranker.yaml").unlink()
    assert marquee("consumers", "remove", "home-page/ranker").status == 0
    assert marquee("retire-frame", "1").status == 0
