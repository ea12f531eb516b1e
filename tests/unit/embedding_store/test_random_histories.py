"""What holds in any history of clients on a storage that fails; and that a bug would be seen."""

import logging
import random
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest

from embedding_store import pinned, publisher
from embedding_store.folding import fold
from embedding_store.state import StoreState
from embedding_store.store import EmbeddingStore
from lake.folders import DiskFolders, S3Folders
from lake.log import CommitLog, Entry
from lake.objects import MemoryObjects
from lake.s3 import S3Objects
from lake.storage import Storage
from tests.unit.embedding_store.faults import FaultyClient, FaultyObjects
from tests.unit.embedding_store.histories import Scene, check, run
from tests.unit.embedding_store.small_world import SmallWorld


class MemoryWorld(SmallWorld):
    """A world whose log and gate records are in memory, and whose versions are on the disk."""

    objects: MemoryObjects

    @property
    def store(self):
        store = super().store
        folders = DiskFolders(store.root)
        store.__dict__["_storage"] = Storage(self.objects, folders, "memory")
        return store


@pytest.fixture(autouse=True)
def without_served_history(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    """The parts of what was served are a projection: thousands of switches would write as many."""
    monkeypatch.setattr(publisher, "rebuild", lambda *_: None)
    caplog.set_level(logging.ERROR)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return made_scene(tmp_path)


def made_scene(folder: Path) -> Scene:
    world = MemoryWorld(folder)
    world.objects = MemoryObjects()
    root = world.folder / "store"

    def storage(_: Path, seed: int) -> Storage:
        return Storage(FaultyObjects(world.objects, seed), DiskFolders(root), "memory")

    scene = Scene(world, storage)
    scene.prepare()
    return scene


def test_five_hundred_operations_on_a_storage_that_fails(scene: Scene) -> None:
    history = run(scene, num_operations=500)
    check(scene)
    ended = {one.ended for one in history.operations}
    assert ended == {"ok", "held", "failed", "unknown"}, "the history is worth a check"
    assert len({one.number for one in history.seen}) > 1
    assert history.num_answers > 50


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_ten_thousand_operations_on_a_storage_that_fails(scene: Scene) -> None:
    run(scene, num_operations=10_000, writers=6, readers=6)
    check(scene)


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_two_thousand_operations_on_a_server_behind_a_network_that_fails(
    tmp_path: Path, s3_url: str
) -> None:
    world = SmallWorld(tmp_path, bucket=s3_url)

    def storage(root: Path, seed: int) -> Storage:
        real = S3Objects(world.store.url)
        objects = S3Objects(str(real), client=FaultyClient(real._client, seed))
        return Storage(objects, S3Folders(objects, root / "cache"), str(real))

    scene = Scene(world, storage)
    scene.prepare()
    run(scene, num_operations=2_000)
    check(scene)


def lose_appends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that lost its slot believes that it won."""
    claim = CommitLog._claim

    def believed(log: CommitLog, entry: Entry) -> bool:
        claim(log, entry)
        return True

    monkeypatch.setattr(CommitLog, "_claim", believed)


def append_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal that echoes our own write counts as lost, and is tried again."""

    def forgetful(log: CommitLog, entry: Entry) -> bool:
        data = log._objects.put_if_absent
        from lake.log import _json

        return data(log._key(entry.seq), _json(entry, indent=1))

    monkeypatch.setattr(CommitLog, "_claim", forgetful)


def forget_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader now and then folds a log that is older than what it read already."""

    state, draw = EmbeddingStore.state, random.Random(0)

    def stale(store: EmbeddingStore, as_of: datetime | None = None) -> StoreState:
        if not store.root.name.startswith("reader") or draw.random() < 0.5:
            return state(store, as_of)
        entries = store.log.entries()
        return fold(entries[: max(2, len(entries) - 20)])

    monkeypatch.setattr(EmbeddingStore, "state", stale)


def mix_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that moved answers items from where it was before."""
    items, kept = pinned.PinnedVersion.items, {}

    def mixed(self: pinned.PinnedVersion, ids: Sequence[str]):
        first = kept.setdefault(id(self.follow.func.__self__), self)
        return items(first, ids)

    monkeypatch.setattr(pinned.PinnedVersion, "items", mixed)


@pytest.mark.parametrize(
    ("bug", "told"),
    [
        (lose_appends, "were told what the log does not say|a client crashed"),
        (append_twice, "were told what the log does not say|is there twice|a client crashed"),
        (forget_the_newest, "and no switch of the log did"),
        (mix_versions, "mixed versions"),
    ],
)
def test_a_planted_bug_is_seen(
    tmp_path: Path, bug, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which threads meet is chance: one history of several shows it, mostly the first."""
    found = []
    for attempt in range(10):
        scene = made_scene(tmp_path / str(attempt))
        with monkeypatch.context() as planted:
            bug(planted)
            run(scene, num_operations=800)
        try:
            check(scene)
        except AssertionError as error:
            found.append(str(error))
            if re.search(told, found[-1]):
                return
    pytest.fail(f"{told!r} was not seen in ten histories: {found}")
