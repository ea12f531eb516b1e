"""Several publishers at the same moment: one winner per slot, no entry lost."""

import json
from pathlib import Path

import pytest

from embedding_store.checks import check
from tests.unit.embedding_store.processes import (
    CONTEXT,
    commit_in_turns,
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


def every_commit_is_on_the_fold_it_saw(world: SmallWorld, writers: int, each: int) -> int:
    """Let publishers accept and promote at once; return how many decisions were refused."""
    world.serve(0, 1)
    before = world.store.state().seq
    names = [f"w{number}" for number in range(writers)]
    barrier = CONTEXT.Barrier(writers)
    children = [start(commit_in_turns, world.folder, name, each, barrier) for name in names]
    for child in children:
        child.join()
        assert child.exitcode == 0
    entries = world.store.log.entries()
    assert len(entries) == before + writers * each, "exactly these commits, and none lost"
    assert len({entry.entry_id for entry in entries}) == len(entries)
    assert "stale" not in {entry.kind for entry in entries}
    num_refused = 0
    for name in names:
        outcome = json.loads((world.folder / f"outcome-{name}").read_text())
        assert [seq for _, seq in outcome["won"]] == [
            entry.seq for entry in entries if entry.by == name
        ]
        assert all(seq == saw + 1 for saw, seq in outcome["won"]), "nothing came in between"
        # entry number saw + 1 is the one behind the fold that the refused decision saw
        assert all(entries[saw].by != name for saw in outcome["refused"]), "truly stale"
        assert outcome["stale"] >= each - 1, "only before anybody's first commit it is not stale"
        num_refused += len(outcome["refused"]) + outcome["stale"]
    assert check(world.store) == []
    return num_refused


@pytest.mark.parametrize(
    "scene", [one_day_of_other_work, two_days_on_the_same_stable, the_same_work_twice]
)
def test_two_publishers_cannot_both_win(world: SmallWorld, scene: object) -> None:
    scene(world)


def test_every_commit_of_racing_publishers_is_on_the_fold_it_saw(world: SmallWorld) -> None:
    assert every_commit_is_on_the_fold_it_saw(world, writers=4, each=6) >= 4 * 5


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
def test_sixteen_publishers_make_eight_hundred_commits(world: SmallWorld) -> None:
    assert every_commit_is_on_the_fold_it_saw(world, writers=16, each=50) >= 16 * 49
