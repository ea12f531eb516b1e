"""What `marquee erase` asks of the store and of Feast, in one call."""

from pathlib import Path

import numpy as np
import pytest

from feature_repo import erasure
from feature_repo.erasure import PublishedErasure, erase_published
from feature_repo.folder import FeastFolder, OnlineKind
from feature_repo.lookup import open_features
from feature_repo.projection import reconcile
from lake.objects import MemoryObjects
from lake.tombstones import Tombstones
from tests.residue import residue
from tests.unit.feature_repo.small_world import SmallWorld, instant

GONE = ["u31", "u32"]


def erased(world: SmallWorld) -> tuple[PublishedErasure, ...]:
    tombstones = Tombstones(MemoryObjects())
    tombstones.add(GONE)
    return erase_published(world.root, tombstones, at=instant(50))


def traces(world: SmallWorld) -> dict[str, int]:
    return residue(world.root, GONE)


def test_one_call_erases_from_store_and_feast(served: SmallWorld) -> None:
    assert {name.split("/")[0] for name in traces(served)} == {"store", "feast"}

    (done,) = erased(served)

    assert done.log_entry == served.store.state().seq == 3
    assert [one["rows"] for one in done.versions.values()] == [2]
    assert traces(served) == {}
    users = open_features(served.feast).users([GONE[0], "u7"])
    assert users.is_found.tolist() == [False, True]
    np.testing.assert_array_equal(users.vectors[0], served.contents[1].default)


def test_the_same_call_again_tells_of_the_same_erasure(served: SmallWorld) -> None:
    first = erased(served)
    assert erased(served) == first
    assert reconcile(served.root).is_noop


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_online_rows_on_a_server_are_asked_for_too(
    served: SmallWorld, monkeypatch: pytest.MonkeyPatch, kind: OnlineKind
) -> None:
    FeastFolder.of(served.root).prepare(kind)
    for path in served.feast.glob("online.db*"):
        path.unlink()
    asked: list[Path] = []
    monkeypatch.setattr(erasure, "reconcile", lambda root, **_: asked.append(root))

    erased(served)

    assert asked == [served.root]


def test_a_workspace_that_serves_nothing_is_erased_from(world: SmallWorld) -> None:
    assert erased(world)[0].versions == {}
    world.publish(1)  # by hand: a publisher is refused
    reconcile(world.root)
    world.retire(1)
    assert traces(world)

    tombstones = Tombstones(MemoryObjects())
    tombstones.add([*GONE, "u33"])
    erase_published(world.root, tombstones, at=instant(50))

    assert traces(world) == {}
