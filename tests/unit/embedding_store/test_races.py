"""Several publishers at the same moment: one winner per slot, no entry lost."""

from pathlib import Path

import pytest

from embedding_store.checks import check
from tests.unit.embedding_store.processes import (
    CONTEXT,
    accept_models,
    race_to_serve,
    start,
)
from tests.unit.embedding_store.small_world import SmallWorld, drifted


def race(world: SmallWorld, runners: list[tuple[str, int, str]]) -> list[str]:
    """Let (name, day, work) run at once; return how each ended."""
    for name, day, _ in runners:
        world.stabilised(day, drifted(world.raw, seed=ord(name[-1])), name=name)
    barrier = CONTEXT.Barrier(len(runners))
    children = [start(race_to_serve, world.folder, *runner, barrier) for runner in runners]
    for child in children:
        child.join()
        assert child.exitcode == 0
    return sorted((world.folder / f"outcome{name}").read_text() for name, _, _ in runners)


def kinds(world: SmallWorld) -> list[str]:
    return [entry.kind for entry in world.store.log.entries()][2:]


def one_day_of_other_work(world: SmallWorld) -> None:
    world.serve(0)
    outcomes = race(world, [("-a", 1, "work a"), ("-b", 1, "work b")])
    assert outcomes == ["AlreadyPublishedError", "v2 False"]
    assert kinds(world) == ["version_published", "alias_set"]
    assert check(world.store) == []


def two_days_on_the_same_stable(world: SmallWorld) -> None:
    world.serve(0)
    outcomes = race(world, [("-a", 1, "work a"), ("-b", 2, "work b")])
    assert outcomes in (["StableMovedError", "v2 False"], ["StableMovedError", "v3 False"])
    assert kinds(world).count("alias_set") == 1
    numbers = sorted(world.store.state().versions)
    assert numbers == list(range(1, len(numbers) + 1))
    assert check(world.store) == []


def the_same_work_twice(world: SmallWorld) -> None:
    world.serve(0)
    world.stabilised(1, name="-a")
    other = world.folder / "work-1-b"
    other.symlink_to(world.folder / "work-1-a")
    outcomes = race(world, [("-a", 1, "work"), ("-b", 1, "work")])
    assert outcomes == ["v2 False", "v2 True"]
    assert kinds(world) == ["version_published", "alias_set"]


def no_entry_is_lost(world: SmallWorld, writers: int, each: int) -> None:
    barrier = CONTEXT.Barrier(writers)
    children = [start(accept_models, world.folder, f"w{n}", each, barrier) for n in range(writers)]
    for child in children:
        child.join()
        assert child.exitcode == 0
    state = world.store.state()
    assert state.seq == writers * each
    assert {model.logical_id for model in state.models} == {
        f"w{n}-{number}" for n in range(writers) for number in range(each)
    }


@pytest.mark.parametrize(
    "scene", [one_day_of_other_work, two_days_on_the_same_stable, the_same_work_twice]
)
def test_two_publishers_cannot_both_win(world: SmallWorld, scene: object) -> None:
    scene(world)


def test_every_writer_gets_its_slots(world: SmallWorld) -> None:
    no_entry_is_lost(world, writers=4, each=5)


@pytest.mark.prove
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "scene", [one_day_of_other_work, two_days_on_the_same_stable, the_same_work_twice]
)
def test_two_publishers_never_both_win_in_many_races(
    tmp_path: Path, bucket: str | None, scene: object
) -> None:
    for run in range(10 if bucket else 50):
        scene(SmallWorld(tmp_path / str(run), bucket=bucket))


@pytest.mark.prove
@pytest.mark.timeout(900)
def test_sixteen_writers_lose_no_entry(world: SmallWorld) -> None:
    no_entry_is_lost(world, writers=16, each=10 if world.bucket else 50)
