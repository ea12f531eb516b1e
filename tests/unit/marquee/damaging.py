"""The processes of the damage suite: each reads one damaged file, as the public API does.

    python -m tests.unit.marquee.damaging WORLD MODEL COUNT SEED REPORT

A process of its own for each file, so that a crash or a hang is one more outcome.
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from embedding_store.checks import check
from embedding_store.client import EmbeddingClient
from embedding_store.errors import StoreError
from embedding_store.pinned import PinnedVersion
from lake.errors import LakeError
from tests.unit.embedding_store.small_world import SmallWorld, instant, raw_world
from tests.unit.marquee.mutations import damaged
from training.artifact import load_model
from training.errors import TrainingError

TIMEOUT_S = 30
MEMORY_BYTES = 4 << 30
"""How much more than at its start a process may have."""
FORBIDDEN = ("pickle.find_class", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "ctypes")
"""Audit events of code that no data file may lead to."""
RAW = raw_world()
Log = dict[str, bytes]


@dataclass(frozen=True)
class Input:
    """A kind of folder, and what is asked of it."""

    name: str
    folder: Path
    files: tuple[Path, ...]
    ask: Callable[[Path], Any]
    typed: tuple[type[Exception], ...]
    is_sealed: bool = True
    """Whether every file is named by a digest; in the first formats some are not, and a changed
    number there may change the answer."""


def log_of(world: SmallWorld) -> Log:
    objects = world.store.objects
    return {key: objects.get(key) for key in objects.list("log")}


def refused(world: SmallWorld, act: Callable[[], object]) -> str | None:
    """Do something that appends; return the error's name, and then nothing was appended."""
    before = log_of(world)
    try:
        act()
    except (StoreError, LakeError) as error:
        assert log_of(world) == before, "what was refused stands in the log"
        return type(error).__name__
    return None


def answers(pinned: PinnedVersion) -> str:
    """The digest of everything that a version answers."""
    users, items = pinned.users([*RAW.user_ids, "?"]), pinned.items(RAW.item_ids)
    parts = [pinned.name, repr(pinned), repr(pinned.top_items("user-1", 5))]
    parts += [one.vectors.tobytes().hex() + repr(one.is_found.tolist()) for one in (users, items)]
    return sha256("".join(parts).encode()).hexdigest()


def ask_store(folder: Path) -> dict[str, Any]:
    """Check, look up, roll back, look up, promote again, look up."""
    world = SmallWorld(folder)
    check(world.store)  # never raises
    client = EmbeddingClient(world.store.root)
    got: dict[str, Any] = {alias: answers(client.pin(alias)) for alias in ("stable", "previous")}
    got["served"] = [
        (rows.tolist(), answers(version))
        for rows, version in client.served_at([instant(day) for day in range(5)])
    ]
    acts = {
        "roll back": lambda: world.publisher.rollback(1, effective_at=instant(9), why="bad"),
        "promote": lambda: world.publisher.promote(
            "stable", 2, judged_against=None, effective_at=instant(10), why="good", again=True
        ),
    }
    for name, act in acts.items():
        if error := refused(world, act):
            got["refused"] = error
            break
        got[name] = answers(client.pin())
    return got


def ask_publisher(folder: Path) -> dict[str, Any]:
    """Publish the day that is stabilised, and let it be stable."""
    world = SmallWorld(folder)
    if error := refused(world, lambda: world.publish(2)):
        return {"refused": error}
    world.promote(world.publish(2))
    return {"published": answers(EmbeddingClient(world.store.root).pin())}


def ask_model(folder: Path) -> dict[str, Any]:
    """Load it."""
    model = load_model(folder)
    state = model.network.state_dict()
    weights = b"".join(state[name].numpy().tobytes() for name in sorted(state))
    rest = repr((model.config, model.spec, model.schema, model.vocabulary.item_ids, model.as_of))
    return {"model": sha256(weights + rest.encode()).hexdigest()}


def outcome_of(one: Input, path: Path, expected: dict[str, Any]) -> str:
    """Return ``equal``, the name of a typed error, or what is wrong."""
    met: list[str] = []
    sys.addaudithook(lambda event, _: met.append(event) if event.startswith(FORBIDDEN) else None)
    try:
        got = one.ask(path)
    except one.typed as error:
        outcome = type(error).__name__
    except Exception as error:  # noqa: BLE001 - what nobody foresaw is what is looked for
        return f"FAULT {type(error).__name__}: {error}"[:300]
    else:
        refusal = got.pop("refused", None)
        if one.is_sealed and (odd := [name for name in got if got[name] != expected[name]]):
            return f"FAULT another answer to {odd[0]}"
        outcome = refusal or "equal"
    return f"FAULT code ran: {met}" if met else outcome


def in_child(act: Callable[[], str]) -> str:
    """Return what ``act`` says in a process of its own, or how that ended."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        signal.alarm(TIMEOUT_S)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES,) * 2)
        os.write(writing, act().encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        outcome = said.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return f"FAULT ended with {status}" if status else outcome


def inputs(world: Path, model: Path) -> list[Input]:
    store = [
        *world.glob("store/log/*.json"),
        *world.glob("store/gates/*.json"),
        *world.glob("store/versions/*/manifest.json"),
        *world.glob("store/versions/**/*.parquet"),
    ]
    stabilised = [
        *world.glob("work-2/stabilised/stabilisation.json"),
        *world.glob("work-2/stabilised/**/*.parquet"),
    ]
    errors = (StoreError, LakeError)
    return [
        Input("store", world, tuple(sorted(store)), ask_store, errors),
        Input("stabilised", world, tuple(sorted(stabilised)), ask_publisher, errors),
        Input("model", model, tuple(sorted(model.iterdir())), ask_model, (TrainingError,)),
    ]


def first_formats(sealed: list[Input], folder: Path) -> list[Input]:
    """Return the same folders as releases wrote them that sealed nothing."""
    found = []
    for one in sealed:
        old = Path(shutil.copytree(one.folder, folder / one.name))
        for pattern in ("**/log/*.json", "**/stabilisation.json", "config.json"):
            for path in old.glob(pattern):
                fields = json.loads(path.read_bytes())
                for name in ("sha256", "files_sha256", "files"):
                    fields.pop(name, None)
                path.write_text(json.dumps({**fields, "format_version": 1}))
        files = tuple(old / path.relative_to(one.folder) for path in one.files)
        name = f"{one.name} of the first format"
        found.append(replace(one, name=name, folder=old, files=files, is_sealed=False))
    return found


def damage_one(one: Input, number: int, seed: int, expected: dict[str, Any]) -> dict[str, Any]:
    """Damage a file in a copy of the folder, and ask."""
    draw = random.Random(f"{seed} {number}")
    suffix = draw.choice(sorted({path.suffix for path in one.files}))
    file = draw.choice([path for path in one.files if path.suffix == suffix])
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / "copy"
        shutil.copytree(one.folder, copy)
        data, other = file.read_bytes(), draw.choice(one.files).read_bytes()
        mutation, changed = damaged(draw, file.suffix, data, other)
        name = file.relative_to(one.folder)
        (copy / name).write_bytes(changed)
        is_same = changed == data
        outcome = "equal" if is_same else in_child(lambda: outcome_of(one, copy, expected))
    told = {"number": number, "input": one.name, "file": str(name), "mutation": mutation}
    return {**told, "outcome": outcome}


def main(world: Path, model: Path, count: int, seed: int, report: Path) -> None:
    torch.set_num_threads(1)
    os.fsync = lambda _: None  # nothing here is about what outlives a power cut
    SmallWorld(world).serve(0, 1)
    SmallWorld(world).stabilised(2)
    found = []
    sealed = inputs(world, model)
    kinds = [*sealed, *first_formats(sealed, report.parent / "first-formats")]
    expected = []
    for one in kinds:
        with tempfile.TemporaryDirectory() as work:
            expected.append(one.ask(Path(shutil.copytree(one.folder, Path(work) / "copy"))))
    for number in range(count):
        kind = number % len(kinds)
        found.append(damage_one(kinds[kind], number, seed, expected[kind]))
    report.write_text(json.dumps(found))


if __name__ == "__main__":
    world_folder, model_folder, *numbers, target = sys.argv[1:]
    main(Path(world_folder), Path(model_folder), *map(int, numbers), Path(target))
