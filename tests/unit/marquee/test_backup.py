"""The drill: a store backed up, lost and restored, without anybody who was erased."""

import json
import shutil
import socket
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest

from assets.workspace import Workspace
from embedding_store.checks import check
from embedding_store.client import EmbeddingClient
from embedding_store.errors import NoVersionError
from feature_repo.erasure import erase_published
from feature_repo.lookup import open_features
from feature_repo.projection import reconcile
from lake.errors import MissingArtifactError
from lake.objects import DiskObjects
from marquee import backup as backups
from marquee import restore as restores
from marquee.backup import CLAIM, back_up, newest, open_place
from marquee.errors import CommandError
from marquee.restore import restore
from tests.residue import residue
from tests.unit.embedding_store.small_world import SmallWorld, instant
from tests.unit.marquee.conftest import Marquee

GONE = "user-17"
WORK = ("work-0", "work-1", "work-2")
"""What days were made of, which is no part of a store."""
NEEDS = """format_version: 1
team: home-page
service: ranker
frame: 1
dim: 8
freshness_h: 24
coverage: 0.99
"""
IDS = [f"user-{number}" for number in range(60)]


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "bucket":
        return f"{request.getfixturevalue('s3_url')}/backup"
    return str(tmp_path / "backup")


@pytest.fixture
def nobody(tmp_path: Path) -> Path:
    path = tmp_path / "erased-since.txt"
    path.touch()
    return path


def served(root: Path) -> dict:
    """What consumers of a workspace get: from the store, then, and through Feast."""
    client = EmbeddingClient(root / "store")
    users = open_features(root / "feast").users(IDS)
    return {
        "stable": [
            client.pin(alias).users(IDS).vectors.tolist() for alias in ("stable", "previous")
        ],
        "then": [(r.tolist(), v.name) for r, v in client.served_at([instant(d) for d in range(4)])],
        "feast": (users.version, users.is_found.tolist(), users.vectors.tolist()),
    }


def erase(workspace: Workspace, user: str) -> None:
    workspace.lake.tombstones().add([user])
    erase_published(workspace.root, workspace.lake.tombstones(), at=instant(60))


def lose_store(workspace: Workspace) -> None:
    shutil.rmtree(workspace.root / "store")
    shutil.rmtree(workspace.root / "feast")


def test_the_drill(
    workspace: Workspace, marquee: Marquee, place: str, nobody: Path, tmp_path: Path
) -> None:
    before = served(workspace.root)
    assert marquee("backup", place).status == 0

    answer = marquee("restore", place, "--erased", str(nobody), name="elsewhere")
    assert (answer.status, answer.err) == (0, "")
    assert marquee("reconcile", name="elsewhere").status == 0

    assert served(tmp_path / "elsewhere") == before
    restored = SmallWorld(tmp_path / "elsewhere")
    assert check(restored.store) == []
    assert restored.publisher.rollback(1, effective_at=instant(9), why="works").number == 1
    assert not (tmp_path / "elsewhere" / "restoring").exists()


def test_what_consumers_rely_on_comes_back(
    workspace: Workspace, marquee: Marquee, nobody: Path, tmp_path: Path
) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text(NEEDS)
    place = str(tmp_path / "backup")
    assert marquee("consumers", "register", str(file)).status == 0
    assert marquee("backup", place).status == 0

    assert marquee("restore", place, "--erased", str(nobody), name="elsewhere").status == 0

    assert marquee("consumers", "check", name="elsewhere").out == "home-page/ranker: kept"
    restored = tmp_path / "elsewhere" / "consumers" / "home-page.ranker.yaml"
    assert restored.read_text() == NEEDS


def test_a_store_in_a_bucket_is_backed_up_and_restored_into_another(
    workspace: Workspace, s3_url: str, nobody: Path, tmp_path: Path
) -> None:
    before = served(workspace.root)
    back_up(workspace, f"{s3_url}/backup")
    root = tmp_path / "cloud"
    restore(root, f"{s3_url}/backup", storage=f"{s3_url}/cloud", erased=nobody, erasure_key="")
    again = back_up(Workspace.open(root), f"{s3_url}/backup")
    reconcile(root)

    assert served(root) == before
    assert Workspace.open(root).store.url == f"{s3_url}/cloud/store"
    assert again.copied == 1  # its workspace.json, which names the bucket


def test_what_is_there_is_not_copied_again(
    workspace: Workspace, world: SmallWorld, place: str
) -> None:
    first = back_up(workspace, place)
    second = back_up(workspace, place)
    world.promote(world.publish(2))
    third = back_up(workspace, place)

    assert first.copied == len(set(first.backup.files.values())) > 20
    assert (second.copied, second.removed) == (0, 0)
    assert 5 < third.copied < first.copied
    assert third.removed == 0
    assert third.backup.entries == first.backup.entries + 2


def test_a_publication_meanwhile_does_no_harm(
    workspace: Workspace, world: SmallWorld, place: str, nobody: Path, tmp_path: Path
) -> None:
    publishing = threading.Thread(target=lambda: world.serve(2, 3))
    publishing.start()
    back_up(workspace, place)
    publishing.join()

    entries = restore(tmp_path / "r", place, erased=nobody, erasure_key="").entries
    reconcile(tmp_path / "r")
    assert 4 <= entries <= 8
    assert check(SmallWorld(tmp_path / "r").store) == []


def test_a_killed_backup_is_none_and_is_completed_by_the_same_call(
    workspace: Workspace,
    place: str,
    nobody: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copied: list[str] = []
    copy = backups._copy

    def killed(target: DiskObjects, key: str, data: bytes) -> None:
        copied.append(key)
        if len(copied) > 9:
            raise KeyboardInterrupt
        copy(target, key, data)

    with monkeypatch.context() as patched:
        patched.setattr(backups, "_copy", killed)
        with pytest.raises(KeyboardInterrupt):
            back_up(workspace, place)
    with pytest.raises(CommandError, match="holds no whole backup"):
        restore(tmp_path / "r", place, erased=nobody, erasure_key="")

    done = back_up(workspace, place)

    assert done.copied == len(set(done.backup.files.values())) - 9
    restore(tmp_path / "r", place, erased=nobody, erasure_key="")
    assert check(SmallWorld(tmp_path / "r").store) == []


def test_two_machines_do_not_back_up_to_one_place_at_once(
    workspace: Workspace, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*_: object) -> None:
        with monkeypatch.context() as other:
            other.setattr(backups, "exclusive_lock", lambda *_, **__: nullcontext())
            other.setattr("socket.gethostname", lambda: "another")
            with pytest.raises(CommandError, match="is being backed up to by"):
                back_up(workspace, place)
        raise KeyboardInterrupt

    with monkeypatch.context() as first:
        first.setattr(backups, "_put_list", meanwhile)
        with pytest.raises(KeyboardInterrupt):
            back_up(workspace, place)
    assert newest(open_place(place)) is None

    # what a kill left behind is its own machine's to finish
    open_place(place).put_if_absent(CLAIM, claim_of(workspace))
    assert back_up(workspace, place).backup.entries == 4
    with pytest.raises(MissingArtifactError):
        open_place(place).get(CLAIM)


def claim_of(workspace: Workspace) -> bytes:
    claim = {"machine": socket.gethostname(), "workspace": str(workspace.root)}
    return json.dumps(claim).encode()


def test_a_backup_that_was_killed_before_it_cleared_up_is_cleared_up_by_later_ones(
    workspace: Workspace, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(workspace, place)
    SmallWorld(workspace.root).publish(4)
    with monkeypatch.context() as patched:
        patched.setattr(backups, "_forget_others", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            back_up(workspace, place)
    target = backups.open_place(place)
    for _ in range(2):
        done = back_up(workspace, place)
        assert len(list(target.list(backups.LISTS))) == 1
        assert backups.newest(target) == done.backup


def test_a_registry_of_a_longer_log_is_made_again(
    workspace: Workspace, tmp_path: Path, nobody: Path
) -> None:
    place = str(tmp_path / "backup")
    back_up(workspace, place)
    world = SmallWorld(workspace.root)
    world.promote(world.publish(4))
    reconcile(workspace.root)
    shutil.rmtree(workspace.root / "store")

    restore(workspace.root, place, erased=nobody, erasure_key="")

    reconcile(workspace.root)
    stable = workspace.store.state().stable(1)
    assert open_features(workspace.root / "feast").version == stable.name


def test_a_workspace_without_a_lake_must_be_told_too(
    workspace: Workspace, place: str, tmp_path: Path
) -> None:
    back_up(workspace, place)
    Workspace.create(tmp_path / "new", workspace.config)
    for _ in range(2):
        with pytest.raises(CommandError, match="nothing here knows who was erased"):
            restore(tmp_path / "new", place, erased=None, erasure_key="")


def test_who_was_erased_after_the_backup_does_not_come_back(
    workspace: Workspace, place: str
) -> None:
    back_up(workspace, place)
    erase(workspace, GONE)
    lose_store(workspace)

    restore(workspace.root, place, erased=None, erasure_key="")
    reconcile(workspace.root)

    found = open_features(workspace.root / "feast").users([GONE, "user-18"]).is_found.tolist()
    assert found == [False, True]
    assert residue(workspace.root, [GONE], but=[*WORK, "lake"]) == {}
    assert check(workspace.store) == []


def test_a_new_machine_must_be_told_who_was_erased_since(
    workspace: Workspace, place: str, tmp_path: Path
) -> None:
    erase(workspace, "user-3")
    back_up(workspace, place)
    root, file = tmp_path / "new", tmp_path / "since.txt"
    file.write_text(f"{GONE}\n")

    with pytest.raises(CommandError, match="nothing here knows who was erased since this backup"):
        restore(root, place, erased=None, erasure_key="")
    restore(root, place, erased=file, erasure_key="")

    users = EmbeddingClient(root / "store").pin().users(["user-3", GONE, "user-18"])
    assert users.is_found.tolist() == [False, False, True]
    assert len(Workspace.open(root).lake.tombstones()) == 2


def test_a_backup_after_an_erasure_keeps_nothing_of_who_was_erased(
    workspace: Workspace, tmp_path: Path
) -> None:
    place = tmp_path / "backup"
    back_up(workspace, str(place))
    assert residue(place, [GONE])
    erase(workspace, GONE)

    done = back_up(workspace, str(place))

    assert done.removed > 0
    assert residue(place, [GONE]) == {}


def test_a_killed_restore_serves_nothing_and_is_finished_by_the_same_call(
    workspace: Workspace,
    place: str,
    nobody: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    back_up(workspace, place)
    root = tmp_path / "r"
    for name in ("_fetch", "_erase", "_install"):
        act = getattr(restores, name)

        def killed(*given: object, act: object = act) -> None:
            act(*given)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(restores, name, killed)
            with pytest.raises(KeyboardInterrupt):
                restore(root, place, erased=nobody, erasure_key="")
        if name != "_install":
            with pytest.raises(NoVersionError, match="nothing is published"):
                EmbeddingClient(root / "store").pin()
    restore(root, place, erased=nobody, erasure_key="")
    reconcile(root)
    assert served(root) == served(workspace.root)


@pytest.mark.parametrize("damage", [b"", b"other bytes", None])
def test_a_damaged_backup_restores_nothing(
    workspace: Workspace, nobody: Path, tmp_path: Path, damage: bytes | None
) -> None:
    place = tmp_path / "backup"
    backup = back_up(workspace, str(place)).backup
    (name,) = [one for one in backup.files if one.endswith("item/part-0.parquet")][:1]
    blob = place / "blobs" / backup.files[name]
    blob.unlink() if damage is None else blob.write_bytes(damage)

    with pytest.raises(CommandError, match="the backup cannot be restored"):
        restore(tmp_path / "r", str(place), erased=nobody, erasure_key="")
    with pytest.raises(NoVersionError):
        EmbeddingClient(tmp_path / "r" / "store").pin()


def test_a_damaged_list_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    place = tmp_path / "backup"
    back_up(workspace, str(place))
    (path,) = (place / "backups").iterdir()
    path.write_text(path.read_text().replace('"entries": 4', '"entries": 3'))

    with pytest.raises(CommandError, match="is damaged"):
        newest(DiskObjects(place))


def test_what_belongs_to_another_log_is_refused(
    workspace: Workspace, world: SmallWorld, nobody: Path, tmp_path: Path, place: str
) -> None:
    back_up(workspace, place)
    with pytest.raises(CommandError, match="whose store is empty"):
        restore(workspace.root, place, erased=nobody, erasure_key="")
    kept = shutil.copytree(world.store.root / "log", tmp_path / "log")
    max((world.store.root / "log").iterdir()).unlink()
    with pytest.raises(CommandError, match="its log lost its end"):
        back_up(Workspace.open(workspace.root), place)
    shutil.copytree(kept, world.store.root / "log", dirs_exist_ok=True)

    other = SmallWorld(tmp_path / "another")
    other._serve((0,))
    shutil.copy(workspace.root / "workspace.json", other.folder)
    with pytest.raises(CommandError, match="backup of another workspace"):
        back_up(Workspace.open(other.folder), place)


def test_an_erasure_meanwhile_begins_the_copy_again(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, of_version, met = tmp_path / "backup", backups._of_version, []

    def then_erased(*given: object) -> object:
        if not met:
            met.append(erase(workspace, GONE))
        return of_version(*given)

    monkeypatch.setattr(backups, "_of_version", then_erased)
    done = back_up(workspace, str(place))

    assert done.backup.entries == 5
    assert residue(place, [GONE]) == {}
