"""What runs in processes of their own: publishers that are killed, publishers that race.

Children come from a fork server that has imported this module, so one costs milliseconds.
"""

import logging
import os
import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path

from embedding_store.entries import ModelAccepted
from embedding_store.errors import StoreError
from lake.objects import MemoryObjects
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


def accept_models(folder: Path, name: str, count: int, barrier: Barrier) -> None:
    world = SmallWorld(folder)
    barrier.wait()
    for number in range(count):
        model = ModelAccepted(
            partition="p", role="daily", digest="d", uri="u", logical_id=f"{name}-{number}"
        )
        world.publisher.accept_model(model, effective_at=instant(0), why="race")


def erase_users(folder: Path, users: list[str], plan: tuple[Callable[..., None], ...]) -> None:
    """Erase users; ``plan`` says where to die."""
    how, *args = plan
    how(*args)
    tombstones = Tombstones(MemoryObjects())
    tombstones.add(users)
    world = SmallWorld(folder)
    world.publisher.erase(tombstones, effective_at=instant(50), why="asked for")
