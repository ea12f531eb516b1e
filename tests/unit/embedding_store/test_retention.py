from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from embedding_store.checks import check
from embedding_store.client import EmbeddingClient
from embedding_store.errors import PublicationRefusedError, RetiredVersionError
from embedding_store.history import rebuild
from embedding_store.publisher import Publisher
from embedding_store.retention import beyond_kept, beyond_online, collect_versions
from lake.objects import MemoryObjects
from lake.tombstones import Tombstones
from tests.unit.embedding_store.small_world import SmallWorld, instant, raw_world
from tests.unit.embedding_store.test_consumers import NEEDS

LATER = datetime.now(UTC) + timedelta(days=30)


@pytest.fixture
def served(world: SmallWorld) -> SmallWorld:
    world.serve(0, 1, 2, 3)
    return world


def numbers(versions: list) -> list[int]:
    return [version.number for version in versions]


def collected(world: SmallWorld, *, before: datetime = LATER, rehearsal: bool = False) -> list[str]:
    found = collect_versions(
        world.store, retired_before=before, unnamed_before=before, is_rehearsal=rehearsal
    )
    return [name.removeprefix("versions/") for name, num_bytes in found if num_bytes]


def test_the_newest_stay_and_so_does_what_has_a_name(served: SmallWorld) -> None:
    state = served.store.state()
    assert numbers(beyond_online(state, 1, keep=2, pinned=())) == [1, 2]
    assert numbers(beyond_online(state, 1, keep=1, pinned=())) == [1, 2]  # v3 is previous
    assert numbers(beyond_kept(state, 1, keep=2, pinned={1})) == [2]
    served.publisher.rollback(1, to=1, effective_at=instant(9), why="bad")
    assert numbers(beyond_kept(served.store.state(), 1, keep=1, pinned=())) == [2, 3]


def test_an_archived_version_has_files_and_no_online_rows(served: SmallWorld) -> None:
    archived = served.publisher.archive(1, effective_at=instant(9), why="old")
    state = served.store.state()
    assert archived.is_archived
    assert numbers(state.online_versions(1)) == [2, 3, 4]
    assert numbers(state.live_versions(1)) == [1, 2, 3, 4]
    assert beyond_online(state, 1, keep=3, pinned=()) == []
    assert EmbeddingClient(served.store.root).pin_number(1).users(["user-1"]).is_found.all()
    seq = state.seq
    served.publisher.archive(1, effective_at=instant(9), why="again")
    assert served.store.state().seq == seq


def test_a_name_brings_online_rows_back(served: SmallWorld) -> None:
    for number in (1, 2):
        served.publisher.archive(number, effective_at=instant(9), why="old")
    served.publisher.rollback(1, to=2, effective_at=instant(10), why="bad")
    served.publisher.promote(
        "canary", 1, judged_against=None, effective_at=instant(11), why="try", again=True
    )
    assert numbers(served.store.state().online_versions(1)) == [1, 2, 3, 4]


def test_what_a_rollback_would_return_to_is_online(served: SmallWorld) -> None:
    for number in (1, 2):
        served.publisher.archive(number, effective_at=instant(9), why="old")
    served.publisher.rollback(1, to=3, effective_at=instant(10), why="bad")
    state = served.store.state()
    assert state.previous(1).number == 2
    assert numbers(state.online_versions(1)) == [2, 3, 4]


def test_what_is_read_keeps_its_online_rows(served: SmallWorld) -> None:
    for number in (3, 4):  # previous, stable
        with pytest.raises(PublicationRefusedError, match=f"v{number} has a name in frame 1"):
            served.publisher.archive(number, effective_at=instant(9), why="old")
    needs = replace(NEEDS, pin=1)
    publisher = Publisher(served.store, by="test", consumers=[needs])
    for act in (publisher.archive, publisher.retire):
        with pytest.raises(PublicationRefusedError, match="v1 is pinned by home-page/ranker"):
            act(1, effective_at=instant(9), why="old")
    publisher.retire(2, effective_at=instant(9), why="old")


def test_files_go_some_days_after_the_retirement(served: SmallWorld) -> None:
    version = served.store.state().version(1)
    served.publisher.retire(1, effective_at=instant(9), why="old")
    assert collected(served, before=datetime.now(UTC) - timedelta(days=7)) == []
    assert collected(served, rehearsal=True) == [version.digest]
    assert served.store.has_version(version.digest)
    assert collected(served) == [version.digest]
    assert not served.store.has_version(version.digest)
    assert collected(served) == []
    assert check(served.store) == []


def test_a_collected_version_says_so_and_its_history_stays(served: SmallWorld) -> None:
    served.publisher.retire(1, effective_at=instant(9), why="old")
    collected(served)
    client = EmbeddingClient(served.store.root)
    with pytest.raises(RetiredVersionError, match=r"v1 was given up and its files were collected"):
        client.pin(as_of=instant(1, 2))
    parts = sorted(served.store.history_folder(1, "user").glob("*"))
    assert len(parts) == 4
    assert rebuild(served.store).written == ()
    parts[0].unlink()
    again = rebuild(served.store)
    assert (again.written, again.lost) == ((), ())
    assert check(served.store) == []


def test_an_erasure_reaches_the_history_of_a_collected_version(served: SmallWorld) -> None:
    served.publisher.retire(1, effective_at=instant(9), why="old")
    collected(served)
    tombstones = Tombstones(MemoryObjects())
    tombstones.add(["user-1"])
    served.publisher.erase(tombstones, effective_at=instant(10), why="asked for")
    for part in served.store.history_folder(1, "user").glob("*"):
        assert "user-1" not in pq.read_table(part, partitioning=None)["user_id"].to_pylist()
    assert collected(served) == []


def test_what_a_gate_refused_goes_and_what_the_log_names_stays(served: SmallWorld) -> None:
    refused = served.staged(5)
    assert collected(served, before=datetime.now(UTC) - timedelta(days=7)) == []
    assert collected(served) == [refused.digest]
    assert len(served.store.stored_versions()) == 4


def test_versions_that_were_retired_with_their_frame_keep_their_files(world: SmallWorld) -> None:
    world.serve(0)
    beside = SmallWorld(world.folder, raw_world(dim=6), frame=2, bucket=world.bucket)
    beside.promote(beside.publish(1))
    world.publisher.retire_frame(1, effective_at=instant(9), why="nobody reads it")
    assert collected(world) == []
    client = EmbeddingClient(world.store.root)
    assert client.pin(frame=1, as_of=instant(1, 2)).users(["user-1"]).is_found.all()
