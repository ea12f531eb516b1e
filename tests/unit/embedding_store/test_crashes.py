"""A publisher killed anywhere and run again finishes; readers never see a half version."""

import os
import threading
from hashlib import sha256
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow.parquet as pq
import pytest
from botocore.httpsession import URLLib3Session

from embedding_store.checks import check
from embedding_store.client import EmbeddingClient
from lake.digests import digest_files
from tests.unit.embedding_store.processes import (
    die_at_fsync,
    die_at_request,
    die_at_step,
    roll_back,
    serve_day,
    start,
)
from tests.unit.embedding_store.small_world import SmallWorld, instant

STEPS = {
    "files-staged": 1,
    "manifest-staged": 1,
    "version-committed": 1,
    "gates-recorded": 1,
    "publication-logged": 1,
    "promotion-logged": 1,
    "history-written": 2,
}
"""The named steps of serving a day, and how often each comes."""
NUM_FSYNCS = 21
"""Durable writes of serving a day in the small world."""
NUM_REQUESTS = 35
"""What serving it asks of the server, where it lies in a bucket."""


class Poller(threading.Thread):
    """Reads the store all the time, as a consumer does, and keeps the first thing that is wrong."""

    def __init__(self, world: SmallWorld) -> None:
        super().__init__()
        self.world = world
        self.seen: list[int] = []
        self.wrong: BaseException | None = None
        self.stopped = threading.Event()

    def run(self) -> None:
        try:
            while not self.stopped.is_set():
                self.read()
        except BaseException as error:  # noqa: BLE001 - handed to the test, which raises it
            self.wrong = error

    def read(self) -> None:
        pinned = EmbeddingClient(self.world.store.root).pin()
        pinned.version.verify()
        users = pinned.users(self.world.raw.user_ids)
        assert users.is_found.all()
        assert np.isfinite(users.vectors).all()
        for part in self.world.store.root.glob("history/f1/user/*.parquet"):
            assert pq.read_table(part, partitioning=None).num_rows == len(users.ids) + 1
        self.seen.append(pinned.number)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.join()
        if self.wrong is not None:
            raise self.wrong
        assert self.seen


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, bucket: str | None) -> SmallWorld:
    """Day 0 is served, day 1 is stabilised."""
    world = SmallWorld(tmp_path_factory.mktemp("prepared"), bucket=bucket)
    world.serve(0)
    world.stabilised(1)
    return world


@pytest.fixture(scope="module")
def finished(prepared: SmallWorld, tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    """The same world after day 1, never killed."""
    world = prepared.copy(tmp_path_factory.mktemp("finished"))
    world.promote(world.publish(1))
    return world


def content(world: SmallWorld) -> dict[str, str]:
    """Everything but the log, whose entries carry instants and ids of their own."""
    ours = ("log/", "location.json", "cache/")
    found = digest_files(world.store.root)
    local = {name: digest for name, digest in found.items() if not name.startswith(ours)}
    objects = world.store.objects
    keys = [key for prefix in ("versions", "gates") for key in objects.list(prefix)]
    return local | {key: sha256(objects.get(key)).hexdigest() for key in keys}


def kill_and_finish(world: SmallWorld, plan: tuple, finished: SmallWorld) -> None:
    with Poller(world) as poller:
        child = start(serve_day, world.folder, 1, plan)
        child.join()
        assert child.exitcode == -9, "the plan must kill"
        world.promote(world.publish(1))
        assert world.store.state().stable(1).number == 2
    assert set(poller.seen) <= {1, 2}
    assert poller.seen == sorted(poller.seen)
    kinds = [entry.kind for entry in world.store.log.entries()]
    assert kinds == ["version_published", "alias_set"] * 2
    assert check(world.store) == []
    world.store.sweep()
    assert content(world) == content(finished)


@pytest.mark.parametrize(
    ("step", "occurrence"), [(step, n + 1) for step, count in STEPS.items() for n in range(count)]
)
def test_killed_at_a_named_step(
    prepared: SmallWorld, finished: SmallWorld, tmp_path: Path, step: str, occurrence: int
) -> None:
    kill_and_finish(prepared.copy(tmp_path), (die_at_step, step, occurrence), finished)


def death_before(world: SmallWorld, number: int) -> tuple:
    """The plan to die before a durable write, or before a request where there is a bucket."""
    return (die_at_request if world.bucket else die_at_fsync, number)


def last_death(world: SmallWorld) -> int:
    return NUM_REQUESTS if world.bucket else NUM_FSYNCS


@pytest.mark.parametrize("number", [10, 12, 13, 14, 15, 18])
def test_killed_before_a_durable_write(
    prepared: SmallWorld, finished: SmallWorld, tmp_path: Path, number: int
) -> None:
    kill_and_finish(prepared.copy(tmp_path), death_before(prepared, number), finished)


def test_the_durable_writes_are_those_that_are_killed(
    prepared: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a step that is added to publishing is killed too."""
    world = prepared.copy(tmp_path)
    EmbeddingClient(world.store.root).pin()  # who publishes has what it stabilised onto
    calls = []
    counted, name = (URLLib3Session, "send") if world.bucket else (os, "fsync")
    call = getattr(counted, name)
    monkeypatch.setattr(counted, name, lambda *given: calls.append(given) or call(*given))
    world.promote(world.publish(1))
    assert len(calls) == last_death(world)


def test_killed_in_a_rollback(finished: SmallWorld, tmp_path: Path) -> None:
    for number, plan in enumerate([(die_at_step, "rollback-logged", 1), death_before(finished, 2)]):
        world = finished.copy(tmp_path / str(number))
        with Poller(world) as poller:
            child = start(roll_back, world.folder, plan)
            child.join()
            assert child.exitcode == -9
            world.publisher.rollback(1, to=1, effective_at=instant(9), why="bad")
        assert set(poller.seen) <= {1, 2}
        assert world.store.state().stable(1).number == 1
        assert [entry.kind for entry in world.store.log.entries()].count("version_rolled_back") == 1
        assert check(world.store) == []


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_killed_twenty_times_at_every_named_step(
    prepared: SmallWorld, finished: SmallWorld, tmp_path: Path
) -> None:
    for step, count in STEPS.items():
        for run in range(5 if prepared.bucket else 20):
            world = prepared.copy(tmp_path / f"{step}-{run}")
            kill_and_finish(world, (die_at_step, step, run % count + 1), finished)


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_killed_before_every_durable_write(
    prepared: SmallWorld, finished: SmallWorld, tmp_path: Path
) -> None:
    for run in range(1 if prepared.bucket else 3):
        for number in range(1, last_death(prepared) + 1):
            world = prepared.copy(tmp_path / f"{number}-{run}")
            kill_and_finish(world, death_before(world, number), finished)


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_killed_again_and_again_until_it_is_done(
    prepared: SmallWorld, finished: SmallWorld, tmp_path: Path
) -> None:
    """Every attempt gets one durable write further than the one before."""
    world = prepared.copy(tmp_path)
    with Poller(world):
        for number in range(1, 2 * last_death(world)):
            child = start(serve_day, world.folder, 1, death_before(world, number))
            child.join()
            if child.exitcode == 0:
                break
        assert child.exitcode == 0
    world.store.sweep()
    assert check(world.store) == []
    assert content(world) == content(finished)
