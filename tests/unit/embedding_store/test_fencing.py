"""A publisher that slept at any step while others went on does no harm when it wakes up."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from embedding_store.checks import check
from embedding_store.errors import StoreError
from embedding_store.folding import fold
from lake.objects import MemoryObjects
from lake.tombstones import Tombstones
from tests.residue import residue
from tests.unit.embedding_store.processes import (
    erase_users,
    note_the_end,
    roll_back,
    serve_day,
    start,
    stop_at_step,
    wait_until_stopped,
)
from tests.unit.embedding_store.small_world import SmallWorld, instant

ERASED = ["user-58", "user-59"]
Rival = Callable[[SmallWorld], None]
Step = tuple[str, str, int]

SLEEPERS: dict[str, tuple[Callable[..., None], tuple]] = {
    "serve": (serve_day, (2,)),
    "roll back": (roll_back, ()),
    "erase": (erase_users, (ERASED[:1],)),
}
STEPS: list[Step] = [
    ("serve", "files-staged", 1),
    ("serve", "manifest-staged", 1),
    ("serve", "version-committed", 1),
    ("serve", "gates-recorded", 1),
    ("serve", "publication-logged", 1),
    ("serve", "promotion-logged", 1),
    ("serve", "history-written", 1),
    ("serve", "history-written", 2),
    ("roll back", "rollback-logged", 1),
    ("roll back", "history-written", 1),
    ("roll back", "history-written", 2),
    ("erase", "version-rewritten", 1),
    ("erase", "version-rewritten", 2),
    ("erase", "erasure-logged", 1),
    ("erase", "history-written", 1),
    ("erase", "history-written", 3),
    ("erase", "version-removed", 1),
]


def serve_another_day(world: SmallWorld) -> None:
    world.promote(world.publish(3))


def serve_the_day_from_other_work(world: SmallWorld) -> None:
    world.promote(world.publish(2, origin=world.origin(2, "other work")))


def go_back(world: SmallWorld) -> None:
    world.publisher.rollback(1, effective_at=instant(20), why="bad")


def go_forward(world: SmallWorld) -> None:
    stable = world.store.state().stable(1)
    world.publisher.promote(
        "stable",
        1,
        judged_against=stable.digest,
        effective_at=instant(20),
        why="again",
        again=True,
    )


def retire_the_newest(world: SmallWorld) -> None:
    newest = max(world.store.state().versions)
    world.publisher.retire(newest, effective_at=instant(20), why="bad")


def erase(world: SmallWorld) -> None:
    tombstones = Tombstones(MemoryObjects())
    tombstones.add(ERASED)
    world.publisher.erase(tombstones, effective_at=instant(50), why="asked for")


RIVALS: list[Rival] = [
    serve_another_day,
    serve_the_day_from_other_work,
    go_back,
    go_forward,
    retire_the_newest,
    erase,
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, bucket: str | None) -> SmallWorld:
    """Days 0 and 1 are served, 2 and 3 are stabilised onto 1."""
    world = SmallWorld(tmp_path_factory.mktemp("prepared"), bucket=bucket)
    world.serve(0, 1)
    for day in (2, 3):
        world.stabilised(day)
    return world


def sleep_through(world: SmallWorld, asleep: Step, rival: Rival) -> str:
    """Let the rival act while the sleeper is stopped; return how the sleeper ended."""
    name, step, occurrence = asleep
    target, args = SLEEPERS[name]
    plan = (stop_at_step, step, occurrence)
    sleeper = start(note_the_end, world.folder, target, world.folder, *args, plan)
    try:
        wait_until_stopped(sleeper)
        with suppress(StoreError):  # what it wanted may be refused behind what the sleeper logged
            rival(world)
    finally:
        os.kill(sleeper.pid, signal.SIGCONT)
        sleeper.join(60)
    assert sleeper.exitcode == 0
    return (world.folder / "outcome").read_text()


def no_harm_is_done(world: SmallWorld) -> None:
    assert check(world.store) == []
    assert not world.unfinished()
    entries = world.store.log.slots()
    for entry in entries:
        if entry.why == "gates passed":  # and not an operator's word
            before = fold(entries[: entry.seq - 1])
            assert before.is_same(entry.body["judged_against"], before.stable(1))
    state = fold(entries)
    days = [version.day for version in state.versions.values()]
    assert len(set(days)) == len(days), "no day is published twice"
    erased = {user for one in state.erasures for user in one.users}
    known = {Tombstones(MemoryObjects()).hash_of(one): one for one in ERASED}
    assert not residue(world.store.root, [known[one] for one in erased] or ["nobody at all"])


@pytest.mark.parametrize(
    ("asleep", "rival"),
    [
        (("serve", "version-committed", 1), erase),
        (("serve", "gates-recorded", 1), serve_another_day),
        (("serve", "promotion-logged", 1), go_forward),
        (("serve", "history-written", 1), erase),
        (("roll back", "rollback-logged", 1), go_forward),
        (("erase", "version-rewritten", 1), serve_another_day),
    ],
)
def test_a_publisher_that_slept_does_no_harm(
    prepared: SmallWorld, tmp_path: Path, asleep: Step, rival: Rival
) -> None:
    world = prepared.copy(tmp_path)
    sleep_through(world, asleep, rival)
    no_harm_is_done(world)


def test_what_a_sleeper_decided_is_refused_or_decided_again(
    prepared: SmallWorld, tmp_path: Path
) -> None:
    def outcome(step: str, rival: Rival) -> str:
        world = prepared.copy(tmp_path / f"{step}-{rival.__name__}")
        return sleep_through(world, ("serve", step, 1), rival)

    assert outcome("gates-recorded", serve_another_day) == "StableMovedError"
    assert outcome("gates-recorded", serve_the_day_from_other_work) == "AlreadyPublishedError"
    assert outcome("gates-recorded", erase) == "ErasedUsersError"
    assert outcome("publication-logged", go_back) == "StableMovedError"
    assert outcome("publication-logged", retire_the_newest) == "PublicationRefusedError"
    assert outcome("promotion-logged", erase) == "done"


@pytest.mark.prove
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("asleep", STEPS, ids=lambda step: "-".join(map(str, step)))
def test_a_publisher_that_slept_anywhere_does_no_harm(
    prepared: SmallWorld, tmp_path: Path, asleep: Step, rival: Rival
) -> None:
    world = prepared.copy(tmp_path)
    sleep_through(world, asleep, rival)
    no_harm_is_done(world)
