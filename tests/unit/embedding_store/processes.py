"""What runs in processes of their own: publishers that are killed, publishers that race.

Children come from a fork server that has imported this module, so one costs milliseconds.
"""

import json
import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from embedding_store.entries import ModelAccepted
from embedding_store.errors import PublicationRefusedError, StableMovedError, StoreError
from embedding_store.publisher import Publisher
from lake.errors import LogMovedError
from lake.log import CommitLog, Entry
from lake.objects import MemoryObjects, Objects
from lake.tombstones import Tombstones
from tests.unit.embedding_store.small_world import SmallWorld, instant, raw_world

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["__main__", __name__, "boto3.s3.inject", "botocore.httpsession"])


def start(target: Callable[..., None], *args: object) -> BaseProcess:
    process = CONTEXT.Process(target=target, args=args)
    process.start()
    return process


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class KillingHandler(logging.Handler):
    """Dies at the given occurrence of a named step."""

    def __init__(self, step: str, occurrence: int) -> None:
        super().__init__()
        self.prefix, self.left = f"step {step}:", occurrence

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(self.prefix):
            self.left -= 1
            if not self.left:
                die()


def die_at_step(step: str, occurrence: int) -> None:
    handler = KillingHandler(step, occurrence)
    for package in ("embedding_store", "feature_repo"):
        logger = logging.getLogger(package)
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)


def die_at_fsync(number: int) -> None:
    """Die right before the given durable write, wherever that is."""
    left = number
    fsync = os.fsync

    def counted(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if not left:
            die()
        fsync(descriptor)

    os.fsync = counted


def die_at_request(number: int) -> None:
    """Die right before the given request to the bucket's server, whatever it is."""
    from botocore.httpsession import URLLib3Session

    left = number
    send = URLLib3Session.send

    def counted(session: URLLib3Session, request: object) -> object:
        nonlocal left
        left -= 1
        if not left:
            die()
        return send(session, request)

    URLLib3Session.send = counted


def serve_day(folder: Path, day: int, plan: tuple[Callable[..., None], ...]) -> None:
    """Publish and promote a day; ``plan`` says where to die."""
    how, *args = plan
    how(*args)
    world = SmallWorld(folder)
    world.promote(world.publish(day))


def serve_in_frame(
    folder: Path, frame: int, dim: int, day: int, plan: tuple[Callable[..., None], ...]
) -> None:
    """Publish and promote a day of a model with ``dim`` dimensions."""
    how, *args = plan
    how(*args)
    world = SmallWorld(folder, raw_world(dim=dim), frame=frame)
    world.promote(world.publish(day))


def roll_back(folder: Path, plan: tuple[Callable[..., None], ...]) -> None:
    how, *args = plan
    how(*args)
    SmallWorld(folder).publisher.rollback(1, effective_at=instant(9), why="bad")


def race_to_serve(folder: Path, name: str, day: int, work: str, barrier: Barrier) -> None:
    """Publish and promote a candidate at the same moment as others; note how it ended."""
    world = SmallWorld(folder)
    stabilised = world.stabilised(day, name=name)
    barrier.wait()
    try:
        publication = world.publish(day, stabilised=stabilised, origin=world.origin(day, work))
        promotion = world.promote(publication)
        outcome = f"v{publication.version.number} {promotion.is_existing}"
    except StoreError as error:
        outcome = type(error).__name__
    (folder / f"outcome{name}").write_text(outcome)


class WatchedLog(CommitLog):
    """Notes on which fold each append was decided, and how it ended."""

    def __init__(self, objects: Objects) -> None:
        super().__init__(objects)
        self.won: list[tuple[int, int]] = []
        self.refused: list[int] = []

    def append(self, *args: Any, after_seq: int, **fields: Any) -> Entry:
        try:
            entry = super().append(*args, after_seq=after_seq, **fields)
        except LogMovedError:
            self.refused.append(after_seq)
            raise
        self.won.append((after_seq, entry.seq))
        return entry


def commit_in_turns(folder: Path, name: str, count: int, barrier: Barrier) -> None:
    """Accept and promote until so many commits are won; try a stale one before each of them."""
    store = SmallWorld(folder).store
    log = store.__dict__["log"] = WatchedLog(store.objects)
    publisher, start, num_stale = Publisher(store, by=name), store.state().seq, 0
    barrier.wait()
    while len(log.won) < count:
        if store.state().seq > start:
            try:
                log.append(
                    "stale", {}, effective_at=instant(0), by=name, why="asleep", after_seq=start
                )
            except LogMovedError:
                num_stale += 1
                log.refused.pop()
        with suppress(PublicationRefusedError, StableMovedError):  # decided again on a later fold
            _commit(publisher, name, len(log.won))
    outcome = {"won": log.won, "refused": log.refused, "stale": num_stale}
    (folder / f"outcome-{name}").write_text(json.dumps(outcome))


def _commit(publisher: Publisher, name: str, turn: int) -> None:
    state = publisher.store.state()
    stable, canary = state.stable(1), state.canary(1)
    assert stable is not None
    match turn % 5:
        case 1 | 2:
            alias, current = "canary", canary
        case 3:
            alias, current = "stable", stable
        case _:
            model = ModelAccepted(
                partition="p", role="daily", digest="d", uri="u", logical_id=f"{name}-{turn}"
            )
            publisher.accept_model(model, effective_at=instant(0), why="race")
            return
    after = state.stable_switches(1)[-1].effective_at + timedelta(seconds=1)
    number = 1 if current and current.number == 2 else 2
    publisher.promote(
        alias, number, judged_against=stable.digest, effective_at=after, why="race", again=True
    )


def erase_users(folder: Path, users: list[str], plan: tuple[Callable[..., None], ...]) -> None:
    """Erase users; ``plan`` says where to die."""
    how, *args = plan
    how(*args)
    tombstones = Tombstones(MemoryObjects())
    tombstones.add(users)
    world = SmallWorld(folder)
    world.publisher.erase(tombstones, effective_at=instant(50), why="asked for")


class StoppingHandler(KillingHandler):
    """Stops the process there, as a suspended machine does; somebody else lets it go on."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(self.prefix):
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGSTOP)


def stop_at_step(step: str, occurrence: int) -> None:
    logger = logging.getLogger("embedding_store")
    logger.setLevel(logging.INFO)
    logger.addHandler(StoppingHandler(step, occurrence))


def note_the_end(folder: Path, target: Callable[..., None], *args: object) -> None:
    """Do it, and note how it ended."""
    try:
        target(*args)
        outcome = "done"
    except StoreError as error:
        outcome = type(error).__name__
    (folder / "outcome").write_text(outcome)


def wait_until_stopped(process: BaseProcess, timeout_s: float = 60) -> None:
    """Return when the process was stopped; raises TimeoutError when it ended or never is."""
    stat = Path(f"/proc/{process.pid}/stat")
    end = time.monotonic() + timeout_s
    while time.monotonic() < end and process.is_alive():
        if stat.read_text().rpartition(")")[2].split()[0] == "T":
            return
        time.sleep(0.01)
    raise TimeoutError(f"process {process.pid} was never stopped")
