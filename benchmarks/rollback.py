"""How long a rollback takes until a consumer that runs already answers from the older version.

    python -m benchmarks.rollback

Two days of ``benchmarks.publication`` are published, promoted and projected to Feast with SQLite;
another process looks users up all the time and notes which version answers. Warm is from the call,
in a process that has everything imported, to that process's first answer from the older version;
cold is ``marquee rollback`` from start to exit. After each one the newer version is promoted again.
Answers are compared bit by bit with those of before, and no version may be written.
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from hashlib import sha256
from io import StringIO
from multiprocessing.connection import Connection
from pathlib import Path

from rich.console import Console

from assets.workspace import Workspace, WorkspaceConfig
from benchmarks import publication
from feature_repo.folder import FeastFolder
from feature_repo.lookup import open_features
from feature_repo.projection import reconcile
from marquee.operations import promote_version, roll_back

USERS = [f"u{number:09d}" for number in range(0, 1_000, 7)]
BY = {"by": "benchmark", "why": "measured", "console": Console(file=StringIO())}


def prepare(root: Path, users: int, dim: int) -> Workspace:
    """Return a workspace that serves the second of two versions."""
    config = WorkspaceConfig(
        source="simulated",
        source_parameters={},
        first_day=date(2026, 1, 1),
        last_day=date(2026, 1, 31),
        recipe="tiny",
        is_replay=False,
    )
    publication.make(root, users=users, items=20_000, dim=dim, num_buckets=16)
    workspace = Workspace.create(root, config)
    FeastFolder.of(root).prepare("sqlite")
    for day in (0, 1):
        publication.publish(root, day)
        reconcile(root)
    return workspace


def consume(root: Path, says: Connection) -> None:
    """Look users up until told to stop; say when another version answers, and what."""
    features = open_features(FeastFolder.of(root).path)
    before = ""
    while not says.poll():
        answer = features.users(USERS)
        if answer.version != before:
            digest = sha256(answer.vectors.tobytes()).hexdigest()
            says.send((time.time(), answer.version, digest))
            before = answer.version
        time.sleep(0.005)


def measure(workspace: Workspace, says: Connection, rounds: int) -> tuple[list[float], list[float]]:
    """Return the warm rollbacks' seconds, until the call returned and until the consumer saw it."""
    _, _, newer = says.recv()
    state = workspace.store.state()
    versions = set(workspace.store.stored_versions())
    returned, seen, older = [], [], set()
    for _ in range(rounds):
        started, clock = time.perf_counter(), time.time()
        roll_back(workspace, to=1, **BY)  # type: ignore[arg-type]
        returned.append(time.perf_counter() - started)
        at, version, digest = says.recv()
        assert version == "v1", version
        seen.append(at - clock)
        older.add(digest)
        promote_version(workspace, 2, **BY)  # type: ignore[arg-type]
        _, version, digest = says.recv()
        assert (version, digest) == ("v2", newer), "what was rolled back from came back changed"
    assert len(older) == 1, "the older version answered differently"
    assert set(workspace.store.stored_versions()) == versions, "something was made again"
    assert [one.digest for one in workspace.store.state().versions.values()] == [
        one.digest for one in state.versions.values()
    ]
    return returned, seen


def cold(workspace: Workspace, rounds: int) -> list[float]:
    """Return the seconds of ``marquee rollback``, a process of its own each time."""
    command = [sys.executable, "-m", "marquee", "rollback", "--to", "1"]
    command += ["--workspace", workspace.root.name]
    environment = {**os.environ, "MARQUEE_HOME": str(workspace.root.parent)}
    took = []
    for _ in range(rounds):
        started = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        took.append(time.perf_counter() - started)
        promote_version(workspace, 2, **BY)  # type: ignore[arg-type]
    return took


def main() -> None:
    """Prepare, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = prepare(Path(folder) / "rollback", given.users, given.dim)
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        consumer = multiprocessing.get_context("spawn").Process(
            target=consume, args=(workspace.root, theirs), daemon=True
        )
        consumer.start()
        returned, seen = measure(workspace, ours, given.rounds)
        ours.send("stop")
        consumer.join()
        wall = cold(workspace, given.rounds)
    print("| rollback | seconds |")
    print("|---|---:|")
    print(f"| warm, until the call returned | {_spread(returned)} |")
    print(f"| warm, until a running consumer answered from it | {_spread(seen)} |")
    print(f"| cold, the whole of `marquee rollback` | {_spread(wall)} |")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


if __name__ == "__main__":
    main()
