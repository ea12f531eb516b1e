"""Frames beside each other: opened where vectors do not fit, retired where nobody reads."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedding_store.checks import check
from embedding_store.client import EmbeddingClient
from embedding_store.consumers import ConsumerNeeds
from embedding_store.entries import ConsumerRegistered
from embedding_store.errors import (
    NoVersionError,
    PublicationRefusedError,
    RetiredVersionError,
    StabilisationError,
    StableMovedError,
)
from embedding_store.history import rebuild
from embedding_store.publisher import Publisher
from embedding_store.stabilise import FrameBeside, stabilise
from embedding_store.transform import STABILISATION_FILE, Stabilisation
from lake.objects import MemoryObjects
from lake.tombstones import Tombstones
from tests.unit.embedding_store.processes import die_at_step, serve_in_frame, start
from tests.unit.embedding_store.small_world import (
    Raw,
    SmallWorld,
    day_name,
    drifted,
    instant,
    quality,
    raw_world,
)

RANKER = ConsumerRegistered(name="home/ranker", frame=1)
NEEDS = ConsumerNeeds(team="home", service="ranker", frame=1, dim=8, freshness_h=24, coverage=0.5)


def beside(world: SmallWorld, raw: Raw | None = None) -> SmallWorld:
    """The same store, whose days go to frame 2: by default of a retrain with another dim."""
    return SmallWorld(world.folder, raw or raw_world(dim=6), frame=2, bucket=world.bucket)


def kinds(world: SmallWorld) -> list[str]:
    return [entry.kind for entry in world.store.log.entries()]


def record(folder: Path) -> Stabilisation:
    return Stabilisation.read(folder / STABILISATION_FILE)


@pytest.fixture
def both(world: SmallWorld) -> SmallWorld:
    """Two days in frame 1; the third one opened frame 2, and a fourth went there too."""
    world.serve(0, 1)
    beside(world)._serve((2, 3))
    return world


def test_another_dim_opens_a_frame_and_the_old_one_goes_on(both: SmallWorld) -> None:
    state = both.store.state()
    frame = state.opened[2]
    assert kinds(both)[4:6] == ["frame_opened", "version_published"]
    assert (frame.dim, frame.beside, frame.day) == (6, 1, day_name(2))
    assert frame.judged_against == state.version(2).digest
    assert frame.because == "the vectors have dim 6, frame 1 has dim 8"
    assert frame.effective_at == state.version(3).effective_at
    assert [state.stable(n).number for n in (1, 2)] == [2, 4]
    assert state.version(4).judged_against == state.version(3).digest
    assert kinds(both).count("frame_opened") == 1
    assert check(both.store) == []


def test_an_unrelated_model_opens_a_frame_by_its_measured_similarity(world: SmallWorld) -> None:
    world.serve(0)
    other = beside(world, raw_world(seed=77))
    opens = record(other.stabilised(1)).opens
    assert opens is not None
    assert opens.figures["item_mean_cosine"] < 0.9
    other.publish(1)
    frame = world.store.state().opened[2]
    assert "of 40 items to those of version" in frame.because
    assert frame.because.endswith("below 0.9000")
    # measured again on what is published: the same figure, whatever the basis
    measured = float(frame.because.split(" is ")[1].split(",")[0])
    assert measured == pytest.approx(opens.figures["item_mean_cosine"], abs=1e-3)


def strangers(raw: Raw, *sides: str) -> Raw:
    names = {side: [f"x-{one}" for one in getattr(raw, side)] for side in sides}
    return replace(raw, **names)


@pytest.mark.parametrize(
    ("sides", "because"),
    [(("user_ids", "item_ids"), "no user and no item in common"), (("item_ids",), "no item in")],
    ids=["nothing in common", "another catalogue"],
)
def test_without_common_rows_there_is_a_frame_of_its_own(
    world: SmallWorld, sides: tuple[str, ...], because: str
) -> None:
    world.serve(0)
    other = beside(world, strangers(world.raw, *sides))
    other._serve((1,))
    assert world.store.state().opened[2].because.startswith(because)


def test_a_frame_of_its_own_is_the_one_that_the_scores_alone_open(
    world: SmallWorld, tmp_path: Path
) -> None:
    world.serve(0)
    raw = drifted(raw_world(seed=77), seed=5)
    opened = beside(world).stabilised(1, raw)
    alone = SmallWorld(tmp_path / "alone", raw).stabilised(1, raw)
    parts = [path.relative_to(alone) for path in sorted(alone.glob("*/part-*.parquet"))]
    assert parts
    for part in parts:
        assert (opened / part).read_bytes() == (alone / part).read_bytes()
    assert (record(opened).frame, record(opened).reference) == (2, None)
    assert record(alone).opens is None


def test_a_retrain_that_fits_opens_no_frame(world: SmallWorld) -> None:
    world.serve(0)
    fits = record(beside(world, world.raw).stabilised(1))
    assert (fits.frame, fits.opens) == (1, None)


def test_without_leave_to_open_a_frame_vectors_that_do_not_fit_are_refused(
    world: SmallWorld, tmp_path: Path
) -> None:
    world.serve(0)
    reference = world.store.version_folder(world.store.state().stable(1).digest)
    users, items = raw_world(dim=6).write(tmp_path)
    with pytest.raises(StabilisationError, match="dim 6, frame 1 has dim 8: publish a frame of"):
        stabilise(users, items, tmp_path / "to", frame=1, reference=reference)


def claim(folder: Path, target: Path, **changes: object) -> Path:
    """The stabilised folder with a record that says something else."""
    shutil.copytree(folder, target)
    replace(record(folder), **changes).write(target / STABILISATION_FILE)
    return target


def test_vectors_that_fit_open_no_frame_whatever_their_record_says(
    world: SmallWorld, tmp_path: Path
) -> None:
    """Neither an invented figure, nor a threshold of the caller's, nor saying nothing helps."""
    world.serve(0)
    fits = drifted(world.raw, seed=1)
    users, items = fits.write(tmp_path)
    reference = world.store.version_folder(world.store.state().stable(1).digest)
    (tmp_path / "to").mkdir()
    leave = FrameBeside(number=2, min_item_cosine=1.1)
    stabilise(users, items, tmp_path / "to", frame=1, reference=reference, beside=leave)
    with pytest.raises(PublicationRefusedError, match="can be brought into frame 1"):
        world.publish(1, stabilised=tmp_path / "to")
    silent = claim(tmp_path / "to", tmp_path / "silent", opens=None)
    with pytest.raises(PublicationRefusedError, match="frame 2 is not open"):
        world.publish(1, stabilised=silent)
    assert kinds(world) == ["version_published", "alias_set"]


def test_a_frame_is_opened_beside_the_current_one_only(both: SmallWorld, tmp_path: Path) -> None:
    third = beside(both, raw_world(dim=4))
    third.frame = 3
    folder = third.stabilised(4)
    opens = record(folder).opens
    assert opens is not None
    assert opens.beside == 2
    wrong = claim(folder, tmp_path / "one", opens=replace(opens, beside=1))
    with pytest.raises(StableMovedError, match="beside frame 1, but frame 2 is served"):
        third.publish(4, stabilised=wrong)
    third._serve((4,))
    assert both.store.state().served_frame == 3


def test_a_day_older_than_what_is_served_opens_no_frame(world: SmallWorld) -> None:
    """Days after it go on in the frame; the next one would not fit into what it opened."""
    world.serve(0, 2)
    with pytest.raises(PublicationRefusedError, match="v2 of 2024-03-03 is served, and the days"):
        beside(world).publish(1)


def test_whoever_comes_second_stabilises_again(world: SmallWorld) -> None:
    """Two retrains that do not fit: one opens the frame, the other one is told."""
    world.serve(0)
    one, other = beside(world), beside(world, raw_world(seed=3, dim=5))
    late = other.stabilised(2, name="-late")
    one._serve((1,))
    with pytest.raises(PublicationRefusedError, match="frame 2 has dim 6, the vectors have dim 5"):
        other.publish(2, stabilised=late)
    same = beside(world, raw_world(seed=3, dim=6))
    stale = claim(late, world.folder / "stale", dim=6)
    with pytest.raises(StableMovedError, match="frame 2 was opened meanwhile, by 2024-03-02"):
        same.publish(2, stabilised=stale)


def test_stable_that_moves_before_the_frame_is_open_is_asked_again(world: SmallWorld) -> None:
    world.serve(0)
    stale = beside(world).stabilised(2)
    world._serve((1,))
    with pytest.raises(StableMovedError, match="stable of frame 1 is v2"):
        beside(world).publish(2, stabilised=stale)


def test_a_refused_gate_opens_no_frame(world: SmallWorld) -> None:
    world.serve(0)
    other = beside(world)
    with pytest.raises(PublicationRefusedError, match="model_quality"):
        other.publish(1, evidence=other.evidence(quality=quality(-0.5)))
    assert world.store.state().opened.keys() == {1}


@pytest.mark.parametrize("step", ["gates-recorded", "frame-logged", "publication-logged"])
def test_killed_while_a_frame_is_opened(world: SmallWorld, step: str) -> None:
    """Running again finishes: one frame, one version."""
    world.serve(0)
    beside(world).stabilised(1)
    child = start(serve_in_frame, world.folder, 2, 6, 1, (die_at_step, step, 1))
    child.join()
    assert child.exitcode == -9
    assert world.store.state().stable(1).number == 1
    beside(world)._serve((1,))
    assert kinds(world)[2:] == ["frame_opened", "version_published", "alias_set"]
    assert beside(world).publish(1).is_existing
    assert check(world.store) == []


def test_a_frame_that_its_day_did_not_finish_is_left_and_given_up(world: SmallWorld) -> None:
    """Its opener was killed and never run again: the next day is asked anew, and opens another."""
    world.serve(0)
    beside(world).stabilised(1)
    start(serve_in_frame, world.folder, 2, 6, 1, (die_at_step, "frame-logged", 1)).join()
    state = world.store.state()
    assert (state.current_frame, state.served_frame) == (2, 1)
    third = replace(beside(world, raw_world(dim=5)), frame=3)
    third._serve((2,))
    assert third.store.state().opened[3].beside == 1
    silent = claim(beside(world).stabilised(1), world.folder / "silent", opens=None)
    with pytest.raises(StableMovedError, match="frame 2 was opened meanwhile, by 2024-03-02"):
        beside(world).publish(1, stabilised=silent)
    world.publisher.retire_frame(2, effective_at=instant(9), why="nothing came of it")
    assert world.store.state().live_frames == (1, 3)


def test_a_model_that_fits_again_goes_on_in_the_old_frame(world: SmallWorld) -> None:
    """The recipe was taken back before anything of the new frame served."""
    world.serve(0)
    beside(world).publish(1)
    world._serve((2,))
    assert world.store.state().stable(1).day == day_name(2)


def test_days_and_rollbacks_of_both_frames_do_not_meet(both: SmallWorld) -> None:
    both._serve((4,))  # an older model may still be brought into frame 1
    both.publisher.rollback(1, effective_at=instant(9), why="a test")
    state = both.store.state()
    assert (state.stable(1).number, state.stable(2).number) == (2, 4)
    client = EmbeddingClient(both.store.root)
    assert client.pin(frame=1).users(["user-3"]).vectors.shape == (1, 8)
    assert client.pin(frame=2).users(["user-3"]).vectors.shape == (1, 6)


def test_an_erasure_goes_through_every_frame(both: SmallWorld) -> None:
    both.publisher.retire_frame(1, effective_at=instant(8), why="nobody reads it")
    tombstones = Tombstones(MemoryObjects())
    tombstones.add(["user-7"])
    both.publisher.erase(tombstones, effective_at=instant(9), why="asked for")
    client = EmbeddingClient(both.store.root)
    assert not client.pin(frame=2).users(["user-7"]).is_found.any()
    for _, served in client.served_at([instant(2, 1), instant(2, 2)], frame=1):
        assert not served.users(["user-7"]).is_found.any()
    assert check(both.store) == []


def test_an_erasure_before_the_frame_is_open_changes_nothing_of_it(world: SmallWorld) -> None:
    """What the vectors were measured against is another digest by then, and the same version."""
    world.serve(0)
    raw = raw_world(dim=6)
    left = replace(raw, users=raw.users[1:], user_ids=raw.user_ids[1:])
    other = beside(world, left)
    stabilised = other.stabilised(1)
    tombstones = Tombstones(MemoryObjects())
    tombstones.add([raw.user_ids[0]])
    world.publisher.erase(tombstones, effective_at=instant(1, 2), why="asked for")
    other.promote(other.publish(1, stabilised=stabilised))
    state = world.store.state()
    assert state.is_same(state.opened[2].judged_against, state.version(1))
    assert state.served_frame == 2


def test_a_frame_that_is_read_is_not_retired(both: SmallWorld) -> None:
    publisher = Publisher(both.store, by="test", consumers=[NEEDS])
    with pytest.raises(PublicationRefusedError, match="frame 1 is read by home/ranker"):
        publisher.retire_frame(1, effective_at=instant(9), why="a test")
    registered = replace(RANKER, name="search/ads")
    both.publisher.register_consumer(registered, effective_at=instant(8), why="a test")
    with pytest.raises(PublicationRefusedError, match="frame 1 is read by home/ranker, search/ads"):
        publisher.retire_frame(1, effective_at=instant(9), why="a test")
    moved = replace(registered, frame=2)
    both.publisher.register_consumer(moved, effective_at=instant(8), why="a test")
    assert both.publisher.retire_frame(1, effective_at=instant(9), why="a test").is_retired


@pytest.mark.parametrize("number", [2, 7])
def test_neither_the_current_frame_nor_an_unknown_one_is_retired(
    both: SmallWorld, number: int
) -> None:
    wanted = NoVersionError if number == 7 else PublicationRefusedError
    with pytest.raises(wanted, match="no frame 7" if number == 7 else "that days go to"):
        both.publisher.retire_frame(number, effective_at=instant(9), why="a test")


def test_the_old_frame_is_kept_until_the_new_one_serves(world: SmallWorld) -> None:
    world.serve(0)
    beside(world).publish(1)
    with pytest.raises(PublicationRefusedError, match="frame 1 is the one that days"):
        world.publisher.retire_frame(1, effective_at=instant(9), why="a test")


def test_a_retired_frame_answers_for_the_past_only(both: SmallWorld) -> None:
    client = EmbeddingClient(both.store.root)
    held = client.pin(frame=1)
    before = np.array(held.users(["user-3"]).vectors)
    for _ in range(2):  # again is nothing more
        both.publisher.retire_frame(1, effective_at=instant(9), why="a test")
    assert kinds(both).count("frame_retired") == 1
    for read in (held.refresh, lambda: client.pin(frame=1), lambda: client.pin_number(2)):
        with pytest.raises(RetiredVersionError, match=r"is retired: "):
            read()
    assert client.pin().name == "v4"
    ((rows, served),) = client.served_at([instant(3)], frame=1)
    assert (rows.tolist(), served.name) == ([0], "v2")
    np.testing.assert_array_equal(served.users(["user-3"]).vectors, before)
    assert client.pin(frame=1, as_of=instant(3)).name == "v2"
    shutil.rmtree(both.store.history_folder(1, "user"))
    rebuild(both.store)
    assert check(both.store) == []


def test_a_lost_part_of_a_retired_frame_stops_nothing(both: SmallWorld) -> None:
    """Nobody is served from it now; only joins of its time need it."""
    both.publisher.retire_frame(1, effective_at=instant(9), why="a test")
    for part in both.store.history_folder(1, "user").glob("*"):
        part.unlink()
    with both.without_version(both.store.state().version(2).digest):
        rebuilt = rebuild(both.store)
        assert (len(rebuilt.written), rebuilt.lost) == (1, ())


def test_nothing_goes_into_a_retired_frame(both: SmallWorld) -> None:
    stabilised = both.stabilised(4)
    both.publisher.retire_frame(1, effective_at=instant(9), why="a test")
    with pytest.raises(PublicationRefusedError, match="frame 1 is retired: days go to frame 2"):
        both.publish(4, stabilised=stabilised)
    with pytest.raises(PublicationRefusedError, match="frame 1 is retired: home/ranker may read"):
        both.publisher.register_consumer(RANKER, effective_at=instant(9), why="a test")
    with pytest.raises(NoVersionError):
        both.publisher.rollback(1, effective_at=instant(10), why="a test")
    with pytest.raises(PublicationRefusedError, match="v1 is retired for good"):
        both.publisher.promote(
            "stable", 1, judged_against=None, effective_at=instant(10), why="a test", again=True
        )


def test_a_consumer_that_leaves_is_noted_once(both: SmallWorld) -> None:
    both.publisher.register_consumer(RANKER, effective_at=instant(8), why="a test")
    leave = [
        both.publisher.remove_consumer(RANKER.name, effective_at=instant(9), why="a test")
        for _ in range(2)
    ]
    assert leave == [True, False]
    assert not both.store.state().consumers
