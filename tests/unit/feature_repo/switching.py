"""The processes of the crash suite: one that reads all along, and ones that switch and are killed.

    python switching.py WORKSPACE FIRST LAST KILLS SEED REPORT

Feast takes seconds to import, so one process imports it and forks the others.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

from feature_repo.errors import FeatureRepoError
from feature_repo.folder import FeastFolder
from feature_repo.lookup import open_features
from feature_repo.projection import confirm, reconcile
from feature_repo.registry import open_plainly
from tests.unit.feature_repo.small_world import SmallWorld, content_of, instant

USERS = [f"u{one}" for one in range(20, 40)]
"""In every version below 20."""
ITEMS = [f"i{one % 12}" for one in range(20)]
STOP = "stop"


def switch(workspace: Path, first: int, last: int, kills: int, seed: int) -> int:
    """Publish and promote versions; return how many reconciliations were killed on the way."""
    world = SmallWorld(workspace)
    world.digests = {
        number: version.digest for number, version in world.store.state().versions.items()
    }
    draw = random.Random(seed)
    killed = 0
    for number in range(first, last + 1):
        world.publish(number)
        killed += reconcile_killed(workspace, kills, draw)
        world.promote(number, at=instant(number + 1))
        killed += reconcile_killed(workspace, kills, draw)
        if number > first + 1:
            world.retire(number - 2)
        reconcile(workspace)
        confirm(workspace)
    return killed


def reconcile_killed(workspace: Path, times: int, draw: random.Random) -> int:
    """Start reconciliations and kill them at some instant; return how many died of it."""
    died = 0
    for _ in range(times):
        child = os.fork()
        if child == 0:
            reconcile(workspace)
            os._exit(0)
        time.sleep(draw.uniform(0, 0.12))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        died += os.WIFSIGNALED(status)
    return died


def read(workspace: Path) -> dict:
    """Look up until told to stop, and once more: warm, afresh, and with nothing but Feast."""
    expected = {f"v{number}": content_of(number) for number in range(1, 20)}
    warm = open_features(workspace / "feast")
    seen: dict[str, int] = {}
    faults: list[str] = []
    polls, is_last = 0, False
    while not is_last:
        is_last = (workspace / STOP).exists()
        try:
            for features in (warm, open_features(workspace / "feast")):
                pairs = features.pairs(USERS, ITEMS)
                content = expected[pairs.users.version]
                users = np.stack([content.users[one] for one in USERS])
                items = np.stack([content.items[one] for one in ITEMS])
                if not np.array_equal(pairs.users.vectors, users):
                    faults.append(f"users are not those of {pairs.users.version}")
                if not np.array_equal(pairs.items.vectors, items):
                    faults.append(f"items are not those of {pairs.users.version}")
                seen[pairs.users.version] = seen.get(pairs.users.version, 0) + 1
            plain(workspace, faults)
        except (FeatureRepoError, Exception) as error:  # noqa: BLE001 - whatever a reader meets
            faults.append(f"{type(error).__name__}: {error}")
        polls += 1
    return {"polls": polls, "seen": seen, "faults": faults}


def plain(workspace: Path, faults: list[str]) -> None:
    """Read as somebody with nothing but Feast: both sides of one version, nobody missing."""
    store = open_plainly(FeastFolder(workspace / "feast"))
    answer = store.get_online_features(
        features=store.get_feature_service("embeddings_f1_stable"),
        entity_rows={"user_id": USERS, "item_id": ITEMS},
        full_feature_names=True,
    ).to_dict()
    versions = {*answer["user_embedding__version"], *answer["item_embedding__version"]}
    if len(versions) != 1 or None in versions:
        faults.append(f"a plain reader met the versions {versions}")


def main(workspace: Path, first: int, last: int, kills: int, seed: int, report: Path) -> None:
    """Run the reader beside the switches, and write down what both met."""
    reader = os.fork()
    if reader == 0:
        report.write_text(json.dumps(read(workspace)))
        os._exit(0)
    try:
        killed = switch(workspace, first, last, kills, seed)
    finally:
        (workspace / STOP).touch()
        os.waitpid(reader, 0)
    report.write_text(json.dumps({**json.loads(report.read_text()), "killed": killed}))


if __name__ == "__main__":
    root, *numbers, target = sys.argv[1:]
    main(Path(root), *(int(one) for one in numbers), Path(target))
