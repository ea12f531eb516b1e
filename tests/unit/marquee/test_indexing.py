from datetime import UTC, datetime

from assets.collection import RetentionPolicy, collect_workspace
from assets.workspace import Workspace
from tests.unit.embedding_store.small_world import SmallWorld, instant
from tests.unit.marquee.conftest import Marquee


def test_the_stable_version_is_indexed_unless_another_is_named(
    world: SmallWorld, marquee: Marquee
) -> None:
    done = marquee("index")
    assert done.status == 0, done.err
    assert done.out.startswith("v2: 40 items indexed by usearch")
    assert "recall@100 1.0000 over 30 users" in done.out
    assert marquee("index", "v1").out.startswith("v1: 40 items indexed")
    assert len(world.store.folders.names("indexes", depth=1)) == 2


def test_a_retired_version_is_not_indexed_and_its_index_is_collected(
    world: SmallWorld, workspace: Workspace, marquee: Marquee
) -> None:
    marquee("index", "v1")
    world.publisher.retire(1, effective_at=instant(9), why="too old")
    assert "v1 is retired" in marquee("index", "v1").err
    now = datetime.now(UTC)
    collected = collect_workspace(workspace, None, RetentionPolicy(), now=now, is_rehearsal=False)
    assert "indexes of versions that are gone" in {one.what for one in collected}
    assert world.store.folders.names("indexes", depth=1) == []
