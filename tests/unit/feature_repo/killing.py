"""The processes of the crash suite: publications that are killed, and a reader beside each.

    python -m tests.unit.feature_repo.killing FOLDER RUNS REPORT

Feast takes seconds to import, so one process imports it and forks all others.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from embedding_store.checks import check
from embedding_store.client import EmbeddingClient
from feature_repo.folder import FeastFolder
from feature_repo.lookup import open_features
from feature_repo.projection import confirm, reconcile
from feature_repo.registry import open_plainly
from tests.unit.embedding_store.processes import die_at_step
from tests.unit.embedding_store.small_world import SmallWorld, raw_world
from tests.unit.embedding_store.test_crashes import content
from tests.unit.feature_repo.test_projection import picture_of

STEPS = {
    "files-staged": 1,
    "version-committed": 1,
    "gates-recorded": 1,
    "publication-logged": 1,
    "rows-written": 2,
    "rows-read-back": 2,
    "registry-applied": 3,
    "promotion-logged": 2,
    "history-written": 2,
}
"""The named steps of serving a day with log, files and Feast, and how often each comes."""
USERS, ITEMS = raw_world().user_ids[:40], raw_world().item_ids
STOP, READY = "stop", "ready"


def serve_day(world: SmallWorld, day: int) -> None:
    """Publish a day and let ``canary``, then ``stable`` mean it, as the platform does."""
    publication = world.publish(day)
    reconcile(world.folder)
    switches = world.store.state().stable_switches(1)
    if publication.version.number in {switch.number for switch in switches}:
        return
    for alias in ("canary", "stable"):
        world.promote(publication, alias=alias)
        reconcile(world.folder)
        confirm(world.folder, alias=alias)


def in_child(act: Callable[[], None]) -> int:
    """Start ``act`` in a process of its own; return its id."""
    if child := os.fork():
        return child
    try:
        act()
    except BaseException as error:  # noqa: BLE001 - this process ends here, whatever it met
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(1)
    os._exit(0)


def ended(child: int) -> int:
    """Wait for a process; return its exit code, minus the signal where it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def finish(act: Callable[[], None]) -> None:
    if status := ended(in_child(act)):
        raise RuntimeError(f"a process that was to succeed ended with {status}")


def look(world: SmallWorld, target: Path) -> None:
    """Write down everything that could differ: files, log, registry, online rows, history."""
    world.store.sweep()  # what the dead left unfinished, as the next run of days does
    target.write_text(
        json.dumps(
            {
                "noop": reconcile(world.folder).is_noop,
                "problems": check(world.store),
                "kinds": [entry.kind for entry in world.store.log.entries()],
                "content": content(world),
                "feast": sha256(repr(picture_of(world.folder)).encode()).hexdigest(),
            }
        )
    )


def vectors_of(world: SmallWorld) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What each version of the undisturbed world answers."""
    client = EmbeddingClient(world.store.root)
    pinned = [client.pin_number(number) for number in world.store.state().versions]
    return {one.name: (one.users(USERS).vectors, one.items(ITEMS).vectors) for one in pinned}


def read(world: SmallWorld, finished: SmallWorld, target: Path) -> None:
    """Look up until told to stop: through Feast, warm, afresh and plainly, and in the store."""
    expected = vectors_of(finished)
    warm = open_features(world.folder / "feast")
    seen: dict[str, list[str]] = {"warm": [], "afresh": [], "store": [], "plain": []}
    faults: list[str] = []

    def note(who: str, version: str, users: np.ndarray, items: np.ndarray) -> None:
        seen[who].append(version)
        if not all(map(np.array_equal, expected[version], (users, items))):
            faults.append(f"{who}: not what {version} holds")

    def look_up() -> None:
        for who, features in (("warm", warm), ("afresh", open_features(world.folder / "feast"))):
            held = features.pinned()
            users, items = held.users(USERS), held.items(ITEMS)
            note(who, users.version, users.vectors, items.vectors)
        pinned = EmbeddingClient(world.store.root).pin()
        note("store", pinned.name, pinned.users(USERS).vectors, pinned.items(ITEMS).vectors)
        note("plain", *plainly(world))

    while True:
        is_last = (world.folder / STOP).exists()
        try:
            look_up()
        except Exception as error:  # noqa: BLE001 - whatever a reader meets is a fault
            faults.append(f"{type(error).__name__}: {error}")
        (world.folder / READY).touch()
        if is_last:
            break
    target.write_text(json.dumps({"seen": seen, "faults": faults}))


def plainly(world: SmallWorld) -> tuple[str, np.ndarray, np.ndarray]:
    """Read as somebody with nothing but Feast; one version in every row, or several names."""
    store = open_plainly(FeastFolder.of(world.folder))
    answer = store.get_online_features(
        features=store.get_feature_service("embeddings_f1_stable"),
        entity_rows={"user_id": USERS, "item_id": ITEMS},
        full_feature_names=True,
    ).to_dict()
    versions = {*answer["user_embedding__version"], *answer["item_embedding__version"]}
    users, items = (
        np.array(answer[f"{side}_embedding__embedding"], dtype=np.float32)
        for side in ("user", "item")
    )
    return " and ".join(sorted(map(str, versions))), users, items


def kill_and_finish(
    prepared: SmallWorld, finished: SmallWorld, folder: Path, step: str, occurrence: int
) -> dict[str, Any]:
    """Serve a day, killed at a step, then once more, a reader beside; return what was met."""
    world = prepared.copy(folder)

    def killed() -> None:
        die_at_step(step, occurrence)
        serve_day(world, 1)

    reader = in_child(lambda: read(world, finished, folder / "read.json"))
    try:
        while not (folder / READY).exists() and os.waitpid(reader, os.WNOHANG) == (0, 0):
            time.sleep(0.01)
        status = ended(in_child(killed))
        finish(lambda: serve_day(world, 1))
    finally:
        (folder / STOP).touch()
        ended(reader)
    finish(lambda: look(world, folder / "look.json"))
    return {
        "step": f"{step} {occurrence}",
        "is_killed": status == -signal.SIGKILL,
        **json.loads((folder / "read.json").read_text()),
        "left": json.loads((folder / "look.json").read_text()),
    }


def main(folder: Path, runs: int, report: Path) -> None:
    """Prepare a world, serve a day undisturbed, and kill it ``runs`` times at every step."""
    prepared, finished = SmallWorld(folder / "prepared"), SmallWorld(folder / "finished")

    serve_day(prepared, 0)
    prepared.stabilised(1)
    prepared.copy(finished.folder)
    serve_day(finished, 1)
    plainly(finished)  # this process is warm by now, and so are those that it forks
    finish(lambda: look(finished, folder / "look.json"))
    outcomes = [
        kill_and_finish(
            prepared, finished, folder / f"{step}-{run}", step, (count // 2 + run) % count + 1
        )
        for step, count in STEPS.items()
        for run in range(runs)
    ]
    undisturbed = json.loads((folder / "look.json").read_text())
    report.write_text(json.dumps({"undisturbed": undisturbed, "outcomes": outcomes}))


if __name__ == "__main__":
    root, number, target = sys.argv[1:]
    main(Path(root), int(number), Path(target))
