import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from embedding_store.client import EmbeddingClient
from embedding_store.contracts import SIDES
from embedding_store.errors import CorruptVersionError
from embedding_store.history import INSTANT, Rebuilt, history_schema, rebuild
from lake.digests import digest_files
from tests.unit.embedding_store.small_world import SmallWorld, instant


def history(world: SmallWorld) -> Path:
    return world.store.root / "history"


def served_at(world: SmallWorld, user: str, at: datetime) -> tuple[str, np.ndarray] | None:
    """The point-in-time answer: the newest row of the user that is not after ``at``."""
    is_past = ds.field("event_timestamp") <= pa.scalar(at, INSTANT)
    history = ds.dataset(world.store.history_folder(1, "user"))
    rows = history.to_table(filter=(ds.field("user_id") == user) & is_past)
    if not rows.num_rows:
        return None
    last = rows.sort_by("event_timestamp").slice(rows.num_rows - 1).to_pylist()[0]
    return last["version"], np.array(last["embedding"], dtype=np.float32)


def test_there_is_a_part_per_switch_named_by_the_log(served_world: SmallWorld) -> None:
    switches = served_world.store.state().stable_switches(1)
    for side in SIDES:
        names = sorted(p.name for p in served_world.store.history_folder(1, side).iterdir())
        assert names == [f"part-{switch.seq:020d}.parquet" for switch in switches]


@pytest.mark.parametrize("side", SIDES)
def test_a_part_holds_the_whole_version_at_the_instant_of_the_switch(
    served_world: SmallWorld, side: str
) -> None:
    state = served_world.store.state()
    for switch in state.stable_switches(1):
        folder = served_world.store.history_folder(1, side)
        rows = pq.read_table(folder / f"part-{switch.seq:020d}.parquet")
        assert rows.schema.equals(history_schema(side), check_metadata=False)
        assert set(rows["event_timestamp"].to_pylist()) == {switch.effective_at}
        assert set(rows["version"].to_pylist()) == {f"v{switch.number}"}
        pinned = EmbeddingClient(served_world.store.root).pin_number(switch.number)
        ids = rows[f"{side}_id"].to_pylist()
        vectors = np.array(rows["embedding"].to_pylist(), np.float32)
        want = (pinned.users if side == "user" else pinned.items)(ids[1:])
        np.testing.assert_array_equal(vectors[1:], want.vectors)
        assert len(ids) == {"user": 61, "item": 41}[side]
        nobody = pinned.default_user if side == "user" else np.zeros(8, np.float32)
        assert ids[0] == ""
        np.testing.assert_array_equal(vectors[0], nobody)


def test_instants_are_microseconds_in_utc(served_world: SmallWorld) -> None:
    dataset = ds.dataset(served_world.store.history_folder(1, "user"))
    assert dataset.schema.field("event_timestamp").type == pa.timestamp("us", tz="UTC")


def test_a_point_in_time_look_up_gives_what_was_served_then(world: SmallWorld) -> None:
    world.serve(0, 1)
    world.publisher.rollback(1, effective_at=instant(3), why="bad")
    assert served_at(world, "user-7", instant(1)) is None
    for day, hour in ((1, 1), (1, 12), (2, 1), (2, 20), (3, 0), (9, 0)):
        at = instant(day, hour)
        name, vector = served_at(world, "user-7", at)
        pinned = EmbeddingClient(world.store.root).pin(as_of=at)
        assert name == pinned.name
        np.testing.assert_array_equal(vector, pinned.users(["user-7"]).vectors[0])
    assert served_at(world, "user-7", instant(9))[0] == "v1"


def test_a_rollback_appends_a_part_and_touches_no_other(world: SmallWorld) -> None:
    world.serve(0, 1)
    before = digest_files(history(world))
    world.publisher.rollback(1, effective_at=instant(3), why="bad")
    after = digest_files(history(world))
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2


def test_rebuilding_a_whole_history_writes_nothing(world: SmallWorld) -> None:
    world.serve(0, 1)
    before = digest_files(history(world))
    assert rebuild(world.store) == Rebuilt((), ())
    assert digest_files(history(world)) == before


def test_a_lost_history_is_rebuilt_byte_for_byte(world: SmallWorld) -> None:
    world.serve(0, 1)
    before = digest_files(history(world))
    lost = sorted(world.store.history_folder(1, "user").iterdir())
    lost[0].unlink()
    assert rebuild(world.store, 1) == Rebuilt((lost[0],), ())
    for path in history(world).rglob("*.parquet"):
        path.unlink()
    assert len(rebuild(world.store).written) == 4
    assert digest_files(history(world)) == before


def test_foreign_and_damaged_parts_are_replaced(world: SmallWorld) -> None:
    world.serve(0, 1)
    before = digest_files(history(world))
    folder = world.store.history_folder(1, "item")
    first, second = sorted(folder.iterdir())
    (folder / "part-00000000000000000001.parquet").write_bytes(first.read_bytes())
    (folder / "notes.txt").write_text("x")
    second.write_bytes(first.read_bytes())
    first.write_bytes(b"half")
    rebuild(world.store)
    assert digest_files(history(world)) == before


def test_a_part_of_a_switch_logged_meanwhile_is_left_alone(world: SmallWorld) -> None:
    world.serve(0)
    folder = world.store.history_folder(1, "item")
    newer = folder / f"part-{world.store.state().seq + 1:020d}.parquet"
    newer.write_bytes(b"of a process that was faster")
    rebuild(world.store)
    assert newer.exists()


def test_a_history_of_a_corrupted_version_is_not_written(world: SmallWorld) -> None:
    (publication,) = world.serve(0)
    for path in history(world).rglob("*.parquet"):
        path.unlink()
    folder = world.store.version_folder(publication.version.digest)
    (folder / "user/part-3.parquet").write_bytes(b"")
    with pytest.raises(CorruptVersionError, match="files of v1 are damaged"):
        rebuild(world.store)
    assert not list(history(world).rglob("*.parquet"))
    assert not list(world.store.scratch.iterdir())


def test_parts_that_stand_need_no_files_of_their_version(world: SmallWorld) -> None:
    _, second = world.serve(0, 1)
    world.publisher.rollback(1, effective_at=instant(3), why="damaged")
    shutil.rmtree(world.store.version_folder(second.version.digest))
    before = digest_files(history(world))

    assert rebuild(world.store) == Rebuilt((), ())
    assert digest_files(history(world)) == before


def test_a_lost_part_of_a_damaged_version_is_named_and_the_others_are_written(
    world: SmallWorld,
) -> None:
    _, second = world.serve(0, 1)
    world.publisher.rollback(1, effective_at=instant(3), why="damaged")
    before = digest_files(history(world))
    for path in history(world).rglob("*.parquet"):
        path.write_bytes(b"half")

    with world.without_version(second.version.digest):
        rebuilt = rebuild(world.store)

    assert len(rebuilt.written) == 4
    assert len(rebuilt.lost) == 2
    assert all("files of v2 are damaged" in one for one in rebuilt.lost)
    assert digest_files(history(world)).items() < before.items()
    assert len(rebuild(world.store).written) == 2
    assert digest_files(history(world)) == before
