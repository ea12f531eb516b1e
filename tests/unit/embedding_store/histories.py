"""Random histories of a store: clients that do what they like, and what must hold afterwards.

::

    seeded clients ──► operations (invoked, ended: ok | held | failed | unknown) ──► check
                       storage that fails, clocks that are off by a day
"""

import itertools
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np

from embedding_store.client import EmbeddingClient
from embedding_store.contracts import SIDES
from embedding_store.entries import ConsumerRegistered, ModelAccepted
from embedding_store.errors import (
    AlreadyPublishedError,
    NoVersionError,
    PublicationRefusedError,
    RetiredVersionError,
    StableMovedError,
    UnreachableStoreError,
)
from embedding_store.gates import published_record
from embedding_store.pinned import PinnedVersion
from embedding_store.publisher import Publisher
from embedding_store.store import EmbeddingStore
from lake.errors import StorageError
from lake.log import CommitLog, Entry
from lake.storage import Storage
from tests.unit.embedding_store.small_world import SmallWorld, day_name, instant, quality

GOOD_DAYS, BAD_DAY = range(1, 7), 7
REFUSALS = (AlreadyPublishedError, NoVersionError, PublicationRefusedError, StableMovedError)
DAY = timedelta(days=1)
_PAUSE_S = 0.03  # a look-up is so much quicker than a promotion

Ended = Literal["ok", "held", "failed", "unknown"]


@dataclass(frozen=True)
class Operation:
    """What a writer asked for, and what it was told: ``held`` is that the log says so already."""

    why: str
    ended: Ended
    ended_at: int


@dataclass(frozen=True)
class Seen:
    """What a reader got from a pin or a refresh."""

    reader: str
    number: int
    invoked_at: int


@dataclass
class History:
    """Everything that was asked and told, in the order of one counter."""

    operations: list[Operation] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    crashes: list[BaseException] = field(default_factory=list)
    num_answers: int = 0
    _count: Iterator[int] = field(default_factory=itertools.count)
    _lock: Lock = field(default_factory=Lock)

    def now(self) -> int:
        with self._lock:
            return next(self._count)


@dataclass(frozen=True)
class Scene:
    """A store with one stable version and candidates that were stabilised onto it."""

    world: SmallWorld
    storage: Callable[[Path, int], Storage]
    """The place as a client of that folder and seed reaches it."""
    history: History = field(default_factory=History)

    def prepare(self) -> None:
        self.world._serve((0,))
        for day in (*GOOD_DAYS, BAD_DAY):
            self.world.stabilised(day)

    def store(self, name: str, seed: int) -> EmbeddingStore:
        store = EmbeddingStore(self.world.folder / name)
        storage = store.__dict__["_storage"] = self.storage(store.root, seed)
        off = random.Random(seed).uniform(-1, 1) * DAY
        store.__dict__["log"] = CommitLog(storage.objects, now=lambda: datetime.now(UTC) + off)
        return store


class Writer:
    """Publishes, promotes, rolls back, retires, registers and accepts, as a seed says."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.name, self.scene, self.random = f"writer-{seed}", scene, random.Random(seed)
        self.off = self.random.uniform(-1, 1) * DAY
        self.publisher = Publisher(scene.store(self.name, seed), by=self.name)

    def act(self, number: int) -> None:
        kinds = [self._publish, self._promote, self._canary, self._roll_back, self._accept]
        weights = [3, 5, 2, 5, 2]
        if number % 50 == 49:
            kinds, weights = [self._retire, self._register], [1, 1]
        why, now = f"{self.name} {number}", self.scene.history.now
        try:
            ended = self.random.choices(kinds, weights)[0](why, self._clock())
        except REFUSALS:
            ended = "failed"
        except StorageError:
            ended = "unknown"
        self.scene.history.operations.append(Operation(why, ended, now()))

    def _clock(self) -> datetime:
        return instant(30) + timedelta(hours=self.scene.history.now()) + self.off

    def _publish(self, why: str, at: datetime) -> Ended:
        day, world = self.random.choice([*GOOD_DAYS, BAD_DAY]), self.scene.world
        lower = -1.0 if day == BAD_DAY else 0.0
        done = self.publisher.publish(
            world.folder / f"work-{day}" / "stabilised",
            origin=world.origin(day),
            evidence=world.evidence(quality=quality(lower)),
            effective_at=at - 10 * DAY,
            why=why,
            republish=self.random.random() < 0.3,
        )
        return "held" if done.is_existing else "ok"

    def _promote(self, why: str, at: datetime, alias: str = "stable") -> Ended:
        state = self.publisher.store.state()
        stable = state.stable(1)
        others = [one for one in sorted(state.versions) if stable and one != stable.number]
        version = state.version(self.random.choice(others or sorted(state.versions)))
        against = stable.digest if stable and self.random.random() < 0.5 else version.judged_against
        done = self.publisher.promote(
            alias,
            version.number,
            judged_against=against,
            effective_at=at,
            why=why,
            again=self.random.random() < 0.6,
        )
        return "held" if done.is_existing else "ok"

    def _canary(self, why: str, at: datetime) -> Ended:
        return self._promote(why, at, "canary")

    def _roll_back(self, why: str, at: datetime) -> Ended:
        to = 1 if self.random.random() < 0.7 else None
        switch = self.publisher.rollback(1, to=to, effective_at=at, why=why)
        # what it returns is the newest switch, which may be somebody else's since
        return "ok" if switch.why == why else "unknown"

    def _retire(self, why: str, at: datetime) -> Ended:
        state = self.publisher.store.state()
        number = self.random.choice([one for one in sorted(state.versions) if one != 1] or [1])
        self.publisher.retire(number, effective_at=at, why=why)
        return "unknown"  # somebody else's may have come first

    def _register(self, why: str, at: datetime) -> Ended:
        self.publisher.register_consumer(
            ConsumerRegistered(name=why, frame=1), effective_at=at, why=why
        )
        return "ok"

    def _accept(self, why: str, at: datetime) -> Ended:
        model = ModelAccepted(partition="p", role="daily", digest="d", uri="u", logical_id=why)
        self.publisher.accept_model(model, effective_at=at, why=why)
        return "ok"


class Reader:
    """Pins, refreshes and looks up, and compares every answer with what its version has."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.name, self.scene, self.random = f"reader-{seed}", scene, random.Random(seed)
        self.client = EmbeddingClient(scene.world.folder / self.name)
        self.client.__dict__["store"] = scene.store(self.name, seed)
        self.pinned: PinnedVersion | None = None
        self.truth: dict[str, dict[str, Any]] = {}

    def act(self, number: int) -> None:
        time.sleep(self.random.random() * _PAUSE_S)
        try:
            if self.pinned is None or self.random.random() < 0.4:
                self._move()
            else:
                self._look_up(self.pinned)
        except (UnreachableStoreError, StorageError, RetiredVersionError):
            pass  # no answer is no wrong answer

    def _move(self) -> None:
        invoked_at = self.scene.history.now()
        fresh = self.pinned is None or self.random.random() < 0.2
        # without patience: what is promised of readers is promised of what the store answers
        self.pinned = self.client.pin() if fresh else self.pinned.refresh(patience_s=-1)
        self.scene.history.seen.append(Seen(self.name, self.pinned.number, invoked_at))

    def _look_up(self, pinned: PinnedVersion) -> None:
        raw, history = self.scene.world.raw, self.scene.history
        for side, ids in (("user", raw.user_ids), ("item", raw.item_ids)):
            asked = self.random.sample(ids, 5)
            answer = pinned.users(asked) if side == "user" else pinned.items(asked)
            truth = self._truth(pinned)[side]
            history.num_answers += 1
            right = all(
                np.array_equal(truth[one], answer.vectors[n]) for n, one in enumerate(asked)
            )
            if not right or answer.version != pinned.name or not answer.is_found.all():
                history.mixed.append(f"{self.name}: {answer.version} for {pinned.name}")

    def _truth(self, pinned: PinnedVersion) -> dict[str, Any]:
        """What the version's own files say, read apart from any look-up."""
        if pinned.digest not in self.truth:
            self.truth[pinned.digest] = {
                side: {
                    one: np.array(vector, dtype=np.float32)
                    for table in pinned.tables(side)
                    for one, vector in zip(
                        table[f"{side}_id"].to_pylist(),
                        table["embedding"].to_pylist(),
                        strict=True,
                    )
                }
                for side in SIDES
            }
        return self.truth[pinned.digest]


def run(scene: Scene, *, num_operations: int, writers: int = 4, readers: int = 4) -> History:
    """Let the clients act at once until so many operations are done."""
    clients = [Writer(scene, seed) for seed in range(writers)]
    clients += [Reader(scene, 1000 + seed) for seed in range(readers)]
    each = num_operations // len(clients)

    def work(client: Writer | Reader) -> None:
        for number in range(each):
            client.act(number)

    with ThreadPoolExecutor(len(clients)) as threads:
        for done in [threads.submit(work, client) for client in clients]:
            if (error := done.exception()) is not None:
                scene.history.crashes.append(error)
    return scene.history


def check(scene: Scene) -> None:
    """Raise AssertionError unless the log bears out everything that clients were told."""
    store, history = scene.world.store, scene.history
    entries = store.log.slots()
    assert store.log.entries() == entries
    assert len({entry.entry_id for entry in entries}) == len(entries)
    logged = {entry.why: entry for entry in entries}
    assert len(logged) == len(entries), "nothing is there twice"
    _check_operations(history, logged)
    _check_readers(history, entries, logged)
    assert not history.mixed, f"mixed versions: {history.mixed[:3]}"
    state = store.state()
    for switch in state.switches:
        version = state.version(switch.number)
        assert version.day != day_name(BAD_DAY)
        assert published_record(store, version).is_passed
    assert not history.crashes, f"a client crashed: {history.crashes[0]!r}"


def _check_operations(history: History, logged: dict[str, Entry]) -> None:
    wrong = [
        one
        for one in history.operations
        if (one.ended == "ok" and one.why not in logged)
        or (one.ended in {"held", "failed"} and one.why in logged)
    ]
    assert not wrong, f"{len(wrong)} operations were told what the log does not say: {wrong[:3]}"
    asked = {one.why for one in history.operations}
    unasked = [why for why, entry in logged.items() if why not in asked and entry.by != "test"]
    assert not unasked, unasked


def _check_readers(history: History, entries: tuple[Entry, ...], logged: dict[str, Entry]) -> None:
    """Each reader goes forward in the log's own switches, and sees what was told before."""
    switches = [
        (entry.seq, entry.body.get("number", entry.body.get("to_number")))
        for entry in entries
        if entry.kind == "version_rolled_back" or entry.body.get("alias") == "stable"
    ]
    told = sorted(
        (one.ended_at, logged[one.why].seq) for one in history.operations if one.ended == "ok"
    )
    places: dict[str, int] = {}
    for seen in history.seen:
        known = max((seq for at, seq in told if at < seen.invoked_at), default=0)
        first = max((n for n, (seq, _) in enumerate(switches) if seq <= known), default=0)
        start = max(first, places.get(seen.reader, 0))
        found = [n for n in range(start, len(switches)) if switches[n][1] == seen.number]
        assert found, f"{seen} went back, and no switch of the log did"
        places[seen.reader] = found[0]
