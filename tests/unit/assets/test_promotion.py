"""A version is tried out, served, and left again where it is not what it should be."""

import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import promotion
from assets.collection import RetentionPolicy, collect_workspace
from assets.errors import DisappointingVersionError, NotPublishedError, WorkspaceError
from assets.promotion import serve
from assets.publication import served_features
from assets.workspace import Workspace, WorkspaceConfig
from embedding_store.publisher import Publisher
from feature_repo.apply import registered_views
from feature_repo.errors import NotServedError, OnlineRowsError
from feature_repo.folder import FeastFolder
from feature_repo.lookup import open_features
from feature_repo.projection import reconcile
from feature_repo.registry import open_for_reading
from tests.unit.embedding_store.small_world import SmallWorld, instant

CONFIG = WorkspaceConfig(
    source="simulated",
    source_parameters={},
    first_day=date(2024, 3, 1),
    last_day=date(2024, 3, 9),
    recipe="tiny",
    online_versions=2,
)
NEEDS = """format_version: 1
team: home-page
service: ranker
frame: 1
dim: 8
freshness_h: 1000
coverage: 0.99
"""


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    world = SmallWorld(tmp_path / "small")
    world.serve(0)
    reconcile(world.folder)
    return world


@pytest.fixture
def workspace(world: SmallWorld) -> Workspace:
    return Workspace.create(world.folder, CONFIG)


def consumer(workspace: Workspace, **needs: float) -> None:
    lines = "".join(f"{key}: {value}\n" for key, value in needs.items())
    path = workspace.root / "consumers" / "home-page.ranker.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(NEEDS + lines)


def kinds(workspace: Workspace) -> list[str]:
    return [entry.kind for entry in workspace.store.log.entries()]


def views(workspace: Workspace) -> list[str]:
    return sorted(registered_views(open_for_reading(FeastFolder.of(workspace.root))))


def served_name(workspace: Workspace, alias: str = "stable") -> str:
    return open_features(workspace.feast_dir, alias=alias).version


def test_a_version_is_tried_out_and_then_served(world: SmallWorld, workspace: Workspace) -> None:
    consumer(workspace, found=1.0, same_top_10=0.2)
    version = world.publish(1).version
    served = serve(workspace, version)
    assert served.is_switched
    assert served.trial is not None
    assert served.trial.found == 1.0
    assert 0.2 <= served.trial.same_top_10 < 1
    assert served.confirmed["version"] == served_name(workspace) == "v2"
    assert kinds(workspace)[-2:] == ["alias_set", "alias_set"]
    assert str(served.trial) in workspace.store.log.entries()[-1].why

    again = serve(workspace, version)
    assert (again.is_switched, again.trial) == (False, None)
    assert len(kinds(workspace)) == 5


@pytest.fixture
def mirrored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was stable whenever the model registry was told to follow the log."""
    told: list[str] = []

    def follow(workspace: Workspace) -> None:
        told.append(workspace.store.state().stable(1).name)

    monkeypatch.setattr(promotion, "follow_log", follow)
    return told


def test_a_canary_that_disappoints_is_withdrawn_for_good(
    world: SmallWorld, workspace: Workspace, mirrored: list[str]
) -> None:
    consumer(workspace, same_top_10=1.0)
    version = world.publish(1).version
    with pytest.raises(DisappointingVersionError, match="home-page/ranker wants same_top_10"):
        serve(workspace, version)
    assert kinds(workspace)[-1] == "canary_withdrawn"
    assert mirrored == ["v1"]
    state = workspace.store.state()
    assert state.stable(1).number == 1
    assert state.canary(1) is None
    assert "home-page/ranker" in state.version(2).withdrawn_because
    assert served_name(workspace) == "v1"
    with pytest.raises(NotServedError):
        served_name(workspace, "canary")

    entries = len(kinds(workspace))
    consumer(workspace)
    with pytest.raises(DisappointingVersionError, match=r"v2 .* was tried out as canary"):
        serve(workspace, state.version(2))
    assert len(kinds(workspace)) == entries
    Publisher(workspace.store, by="operator").promote(
        "stable", 2, judged_against=None, effective_at=instant(9), why="agreed", again=True
    )
    assert not serve(workspace, workspace.store.state().version(2)).is_switched
    assert served_name(workspace) == "v2"


def test_the_next_day_goes_on_from_what_was_served(world: SmallWorld, workspace: Workspace) -> None:
    consumer(workspace, same_top_10=1.0)
    with pytest.raises(DisappointingVersionError):
        serve(workspace, world.publish(1).version)
    consumer(workspace)
    assert serve(workspace, world.publish(2).version).is_switched
    assert served_name(workspace) == "v3"


@pytest.fixture
def lost_rows(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of v2, right after it became stable: as when a server forgets."""
    confirm = promotion.confirm

    def after_a_loss(root: Path, *, frame: int, alias: str = "stable") -> dict[str, Any]:
        if alias == "stable" and workspace.store.state().stable(1).number == 2:
            with closing(sqlite3.connect(FeastFolder.of(root).online)) as online, online:
                online.execute("DELETE FROM marquee_user_embedding__f1__v2")
        return confirm(root, frame=frame, alias=alias)

    monkeypatch.setattr(promotion, "confirm", after_a_loss)


@pytest.mark.usefixtures("lost_rows")
def test_a_version_that_does_not_read_back_is_rolled_back_from(
    world: SmallWorld, workspace: Workspace, mirrored: list[str]
) -> None:
    version = world.publish(1).version
    with pytest.raises(DisappointingVersionError, match=r"v1 is served again"):
        serve(workspace, version)
    last = workspace.store.log.entries()[-1]
    assert last.kind == "version_rolled_back"
    assert last.why.startswith("automatic, v2 did not read back as published: ")
    assert workspace.store.state().stable(1).number == 1
    assert served_name(workspace) == "v1"
    assert mirrored == ["v1"]
    entries = len(kinds(workspace))
    again = serve(workspace, version)
    assert not again.is_switched
    assert re.fullmatch(
        r"v2 of 2024-03-02 was rolled back from \(automatic, v2 did not read back as published: "
        r".*\) and v1 of 2024-03-01 is served: `marquee promote 2` goes forward to v2, `marquee "
        r"republish 2024-03-02` makes another",
        again.note,
    )
    assert len(kinds(workspace)) == entries
    assert serve(workspace, world.store.state().version(1)).note == ""

    world.publisher.retire(2, effective_at=instant(9), why="bad")
    retired = serve(workspace, world.store.state().version(2)).note
    assert "promote" not in retired
    assert "`marquee republish 2024-03-02`" in retired


def test_a_run_of_a_day_that_was_rolled_back_from_says_so_and_how_to_go_on(
    world: SmallWorld, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> dict[str, Any]:
        context = dg.build_asset_context(partition_key="2024-03-02")
        return dict(served_features(context, workspace=workspace).metadata)

    serve(workspace, world.publish(1).version)
    assert "not served because" not in run()
    assert "rolled back" not in capsys.readouterr().err
    Publisher(workspace.store, by="operator").rollback(
        1, to=1, effective_at=instant(9), why="a bad week"
    )

    metadata = run()

    told = "v2 of 2024-03-02 was rolled back from (a bad week) and v1 of 2024-03-01 is served: "
    assert f"{told}`marquee promote 2`" in capsys.readouterr().err
    assert metadata["not served because"].startswith(told)
    assert metadata["stable is"] == "v1"


@pytest.mark.usefixtures("lost_rows")
def test_a_run_killed_before_its_read_back_rolls_back_when_run_again(
    world: SmallWorld, workspace: Workspace
) -> None:
    world.promote(world.publish(1))
    with pytest.raises(DisappointingVersionError, match=r"v1 is served again"):
        serve(workspace, workspace.store.state().version(2))
    assert served_name(workspace) == "v1"


def test_a_frames_first_version_has_nothing_to_go_back_to(
    world: SmallWorld, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object, **__: object) -> dict[str, Any]:
        raise OnlineRowsError("they are lost")

    monkeypatch.setattr(promotion, "confirm", lost)
    with pytest.raises(OnlineRowsError):
        serve(workspace, world.store.state().version(1))
    assert kinds(workspace) == ["version_published", "alias_set"]


def test_only_the_newest_versions_stay_online(world: SmallWorld, workspace: Workspace) -> None:
    for day in (1, 2, 3):
        serve(workspace, world.publish(day).version)
    assert views(workspace) == [
        f"{side}_embedding__f1__v{number}" for side in ("item", "user") for number in (3, 4)
    ]
    state = workspace.store.state()
    assert [one.number for one in state.live_versions(1)] == [1, 2, 3, 4]
    assert "the newest 2 versions stay online" in workspace.store.log.entries()[-1].why
    Publisher(workspace.store, by="operator").rollback(
        1, to=1, effective_at=instant(9), why="a bad week"
    )
    reconcile(workspace.root)
    assert served_name(workspace) == "v1"


def test_a_pinned_version_stays_online(world: SmallWorld, workspace: Workspace) -> None:
    consumer(workspace, pin=1)
    for day in (1, 2, 3):
        serve(workspace, world.publish(day).version)
    assert "user_embedding__f1__v1" in views(workspace)
    assert "user_embedding__f1__v2" not in views(workspace)


def test_more_online_than_kept_is_refused() -> None:
    with pytest.raises(WorkspaceError, match="online_versions"):
        replace(CONFIG, online_versions=3, kept_versions=2)


def test_collection_gives_up_the_oldest_and_later_their_files(
    world: SmallWorld, workspace: Workspace
) -> None:
    keeping = Workspace(workspace.root, replace(CONFIG, online_versions=1, kept_versions=2))
    consumer(workspace, pin=2)
    for day in (1, 2, 3, 4):
        serve(keeping, world.publish(day).version)

    def collect(days: int, *, is_rehearsal: bool = False) -> list[str]:
        now = datetime.now(UTC) + timedelta(days=days)
        found = collect_workspace(
            keeping, None, RetentionPolicy(), now=now, is_rehearsal=is_rehearsal
        )
        return [one.name for one in found if "versions" in one.what]

    digests = {one.number: one.digest for one in world.store.state().versions.values()}
    assert collect(0, is_rehearsal=True) == ["v1", "v3"]
    assert collect(0) == ["v1", "v3"]
    assert [one.number for one in world.store.state().live_versions(1)] == [2, 4, 5]
    assert collect(8) == sorted(f"versions/{digests[one]}" for one in (1, 3))
    assert collect(8) == []
    assert reconcile(workspace.root).is_noop
    assert not serve(keeping, world.store.state().version(5)).is_switched


def test_a_retired_only_version_is_told(tmp_path: Path) -> None:
    world = SmallWorld(tmp_path / "small")
    world.promote(world.publish(0), alias="canary")
    world.publish(1)
    workspace = Workspace.create(world.folder, CONFIG)
    world.publisher.retire(1, effective_at=instant(9), why="bad")
    with pytest.raises(NotPublishedError, match="frame 1 serves nothing else"):
        serve(workspace, world.store.state().version(1))
