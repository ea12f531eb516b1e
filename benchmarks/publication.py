"""What publishing a day's embeddings takes, by the number of users: seconds and memory.

    python -m benchmarks.publication
    python -m benchmarks.publication --users 10_000_000 --buckets 128 --rounds 1
    python -m benchmarks.publication --dtype int8

Two days of vectors of one world lie in Parquet: low rank and noise, the second day's turned by a
random rotation, as a retrain leaves them. The first day opens a frame and is promoted; what is
measured is the second: stabilised onto the first, then published (copied into a version, verified,
judged by every gate, logged) and promoted. Each round runs in a process of its own; memory is its
largest resident set, the modules' share beside it. Feast is not part of it. What a dtype costs is
measured against the stabilised vectors that it was made of: bytes, scores, and the ten best items.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embedding_store import ActiveUsers, EmbeddingStore, Evidence, Origin, Publisher, stabilise
from embedding_store.contracts import DEFAULT_USER_ID, Side, embedding_table
from embedding_store.dtypes import DEFAULT_DTYPE, ENCODINGS
from embedding_store.exact_search import best_columns
from embedding_store.gates import QualityComparison
from embedding_store.parts import read_shard, write_part
from embedding_store.stabilise import INPUT_DEFAULT_FILE
from embedding_store.versions import Version
from lake.hashing import buckets

RANK = 48
"""Directions that carry most of the scores; the others are noise a tenth as long."""
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
SEED = 20260101
LIST = 10
PROBE_USERS = 1000
STEPS = ("stabilise", "publish", "promote")
_CPU = tuple(f"{name} cpu" for name in STEPS)


def make(folder: Path, *, users: int, items: int, dim: int, num_buckets: int) -> None:
    """Write raw vectors of both days to ``folder``, and the list of active users."""
    if (folder / "made").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    ids = [f"u{number:09d}" for number in range(users)]
    bucket_of = buckets(ids, num_buckets)
    rotation = np.linalg.qr(np.random.default_rng(SEED).normal(size=(dim, dim)))[0]
    for day, turn in enumerate((np.eye(dim), rotation)):
        for bucket in range(num_buckets):
            numbers = np.flatnonzero(bucket_of == bucket)
            _write(folder / f"{day}", "user", bucket, numbers, turn=turn)
        _write(folder / f"{day}", "item", 0, np.arange(items), turn=turn)
        nobody = embedding_table("user", pa.array([DEFAULT_USER_ID]), np.ones((1, dim), np.float32))
        write_part(folder / f"{day}" / "user" / INPUT_DEFAULT_FILE, nobody)
    write_part(folder / "active.parquet", pa.table({"user_id": pa.array(ids)}))
    (folder / "made").touch()


def _write(
    folder: Path,
    side: Side,
    part: int,
    numbers: npt.NDArray[np.int64],
    *,
    turn: npt.NDArray[np.float64],
) -> None:
    """Write a part: what stays of a user or item from day to day, and a tenth that does not."""
    dim, of = len(turn), [SEED, part, int(side == "user")]
    settled = np.random.default_rng(of).normal(size=(len(numbers), dim))
    daily = np.random.default_rng([*of, int(folder.name) + 1]).normal(size=(len(numbers), dim))
    lengths = np.where(np.arange(dim) < RANK, 1.0, 0.1)
    vectors = ((settled + 0.1 * daily) * lengths @ turn).astype(np.float32)
    mark = {"user": "u", "item": "i"}[side]
    ids = pa.array([f"{mark}{number:09d}" for number in numbers.tolist()])
    write_part(folder / side / f"part-{part}.parquet", embedding_table(side, ids, vectors))


def publish(folder: Path, day: int, dtype: str = DEFAULT_DTYPE) -> dict[str, float]:
    """Stabilise, publish and promote a day in this process; return the seconds of each.

    Under ``<step> cpu`` those of all processors together, which other work hardly changes.
    """
    store = EmbeddingStore(folder / "store")
    publisher = Publisher(store, by="benchmark", dtype=dtype)
    state = store.state()
    stable = state.stable(1)
    reference = None if stable is None else store.version_folder(stable.digest)
    stabilised = folder / "stabilised"
    shutil.rmtree(stabilised, ignore_errors=True)
    stabilised.mkdir(parents=True)
    raw = folder / f"{day}"
    marks = [_clocks()]
    stabilise(raw / "user", raw / "item", stabilised, frame=1, reference=reference)
    marks.append(_clocks())
    as_of = FIRST + timedelta(days=day)
    published = publisher.publish(
        stabilised,
        origin=_origin(as_of),
        evidence=Evidence(
            active_users=ActiveUsers("a row in active.parquet", folder / "active.parquet"),
            quality=None if stable is None else _equal_quality(),
        ),
        effective_at=as_of,
        why="measured",
    )
    marks.append(_clocks())
    publisher.promote(
        "stable",
        published.version.number,
        judged_against=None if stable is None else stable.digest,
        effective_at=as_of,
        why="measured",
    )
    marks.append(_clocks())
    wall, cpu = np.diff(marks, axis=0).T.tolist()
    return {**dict(zip(STEPS, wall, strict=True)), **dict(zip(_CPU, cpu, strict=True))}


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _origin(as_of: datetime) -> Origin:
    day = as_of.date().isoformat()
    made = dict.fromkeys(("model_id", "base_id", "tokenizer_id"), "measured")
    digests = dict.fromkeys(("model_digest", "base_digest", "tokenizer_digest"), "measured")
    return Origin(day=day, as_of=as_of.isoformat(), logical_id=day, **made, **digests)


def _equal_quality() -> QualityComparison:
    return QualityComparison(
        metric="ndcg_at_10", difference=0.0, lower=0.0, upper=0.0, num_users=1, evidence="none"
    )


def fidelity(folder: Path) -> dict[str, float | None]:
    """Return what the stable version takes, and what it keeps of the vectors that it is made of."""
    store = EmbeddingStore(folder / "store")
    stable = store.state().stable(1)
    assert stable is not None
    version = store.open(stable)
    manifest = version.manifest
    vectors = manifest.rows("user") + manifest.rows("item")
    return {
        "bytes": sum(one.bytes for one in manifest.files) / vectors,
        "score_error": manifest.score_error,
        "overlap": _overlap(folder / "stabilised", version),
    }


def _overlap(exact: Path, version: Version) -> float:
    """Return the share of the best items of some users that is kept, by exact search."""
    best = []
    record = version.manifest.parts("user")[0]
    dim = version.manifest.dim
    for users, items in (
        (
            read_shard(exact / record.path, "user", dim),
            read_shard(exact / "item/part-0.parquet", "item", dim),
        ),
        (version.shard(record, "user"), version.items),
    ):
        best.append(best_columns(users.vectors[:PROBE_USERS] @ items.vectors.T, LIST))
    pairs = zip(*best, strict=True)
    return float(np.mean([len(np.intersect1d(want, got)) / LIST for want, got in pairs]))


def run(folder: Path, day: int, dtype: str) -> None:
    """Publish a day and print what it took."""
    modules_mib = _peak_mib()
    took = publish(folder, day, dtype)
    found = {**took, "peak_mib": _peak_mib(), "modules_mib": modules_mib}
    print(json.dumps({**found, **fidelity(folder)}))


def _peak_mib() -> float:
    """Return the largest resident set; getrusage would count the parent's from before the exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measured(folder: Path, day: int, dtype: str) -> dict[str, Any]:
    """Return what a day took in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.publication"]
    command += ["--folder", str(folder), "--day", str(day), "--dtype", dtype]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(folder: Path, *, vectors: int, rounds: int, dtype: str) -> None:
    """Publish the second day ``rounds`` times, and print the table."""
    runs = []
    for _ in range(rounds):
        shutil.rmtree(folder / "store", ignore_errors=True)
        measured(folder, 0, dtype)
        runs.append(measured(folder, 1, dtype))
    print("| step | seconds | vectors/s | processor seconds |")
    print("|---|---:|---:|---:|")
    for name, steps in {**{step: (step,) for step in STEPS}, "together": STEPS}.items():
        took = [sum(one[step] for step in steps) for one in runs]
        busy = [sum(one[f"{step} cpu"] for step in steps) for one in runs]
        rates = spread([vectors / s for s in took], ",.0f")
        print(f"| {name} | {spread(took, '.1f')} | {rates} | {spread(busy, '.1f')} |")
    print(
        f"\n{vectors:,} vectors; largest resident set "
        f"{spread([one['peak_mib'] for one in runs], ',.0f')} MiB, "
        f"{runs[0]['modules_mib']:,.0f} MiB of it modules"
    )
    print(
        f"{dtype}: {runs[0]['bytes']:.1f} bytes a vector on disk, its id included; score error "
        f"{runs[0]['score_error']}; {runs[0]['overlap']:.4f} of the {LIST} best items kept"
    )


def spread(values: list[float], form: str) -> str:
    """Return the median with the least and the most."""
    return f"{statistics.median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"


def main() -> None:
    """Make the days and measure, or publish one in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "publication")
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--buckets", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=tuple(ENCODINGS), default=DEFAULT_DTYPE)
    parser.add_argument("--day", type=int, choices=(0, 1), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.day is not None:
        run(given.folder, given.day, given.dtype)
        return
    size = {"users": given.users, "items": given.items, "dim": given.dim}
    folder = given.folder / "-".join(str(one) for one in (*size.values(), given.buckets))
    make(folder, **size, num_buckets=given.buckets)
    report(folder, vectors=given.users + given.items, rounds=given.rounds, dtype=given.dtype)


if __name__ == "__main__":
    main()
