"""What it is worth that windows are packed: the same training with every window padded.

    python -m benchmarks.speed.padding --source movietweetings --data <folder> [--rounds 3]

The ``sasrec`` recipe reads the newest 128 events of every user, first as they lie, then with each
history filled up to 128 positions, as libraries do it; nobody is asked at what fills them up. A
step has as many users in both. Contenders are fresh processes that take turns; one thread each.
"""

import argparse
import json
import statistics
import sys
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np

from benchmarks.quality.logs import MemoryLog, published_log
from benchmarks.quality.movielens import AS_OF, MemoryData, read_movielens
from benchmarks.speed.__main__ import measure, processor
from benchmarks.speed.contender import timed
from training.contracts import UNKNOWN_INSTANT, Histories
from training.recipes import sasrec
from training.schema import Action, ActionRole, EventSchema

MAX_LEN, USERS_A_STEP = 128, 96

SCHEMA = EventSchema(
    name="filled",
    actions=(
        Action(name="choose", role=ActionRole.TARGET),
        Action(name="fill", role=ActionRole.CONTEXT),
    ),
    facets=(),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled(MemoryData):
    """Histories of choices, and of what fills them up."""

    def schema(self) -> EventSchema:
        """Return the schema: two actions, no facets."""
        return SCHEMA


def filled(log: Histories, *, length: int) -> Histories:
    """Return the newest ``MAX_LEN`` tokens of everybody, behind as many as make ``length``."""
    sizes = np.minimum(np.diff(log.offsets), MAX_LEN)
    lengths = np.maximum(sizes, length)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    at = np.arange(offsets[-1]) - np.repeat(offsets[1:], lengths)  # -1 is a user's newest
    is_choice = at >= -np.repeat(sizes, lengths)
    source = np.repeat(log.offsets[1:], lengths) + np.where(is_choice, at, -1)
    nowhen = np.full(offsets[-1], UNKNOWN_INSTANT)
    return replace(
        log,
        offsets=offsets,
        item_code=log.item_code[source],
        first_at=nowhen,
        last_at=nowhen,
        duration_ms=np.zeros(offsets[-1], dtype=np.int64),
        num_events=np.ones(offsets[-1], dtype=np.int32),
        action_counts=np.stack([is_choice, ~is_choice], axis=1).astype(np.int32),
        request_categories={},
        request_numbers={},
    )


def log_of(source: str, folder: Path) -> MemoryData | MemoryLog:
    """Return everything that a published log has."""
    if source == "movielens":
        return read_movielens(folder, "sas")
    log = published_log(source, folder)
    return log.before(log.last_day + timedelta(days=1))  # type: ignore[return-value]


def main() -> None:
    """Measure both and print a table; or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--source", choices=["movielens", "movietweetings", "kuairand"], required=True
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--contender", choices=["packed", "padded"])
    given = parser.parse_args()
    whole = log_of(given.source, given.data)
    log = whole.histories()
    log = filled(log, length=0)
    mean = log.num_tokens / log.num_users
    if given.contender:
        a_user = MAX_LEN if given.contender == "padded" else mean
        if given.contender == "padded":
            log = filled(log, length=MAX_LEN)
        data = Filled(log=log, films=whole.catalogue(), as_of=AS_OF)
        base = sasrec()
        config = replace(
            base,
            model=replace(base.model, max_seq_len=MAX_LEN),
            batch_tokens=int(USERS_A_STEP * a_user),
            windows="newest",
        )
        steps = -(-log.num_tokens // config.batch_tokens)
        events_a_step = mean * log.num_users / steps
        figures = timed(data, config, seconds=given.seconds, events_a_step=events_a_step)
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    rates: dict[str, list[float]] = {"packed": [], "padded": []}
    memory: dict[str, float] = {}
    for _ in range(given.rounds):
        for name, own in rates.items():
            command = [sys.executable, "-m", "benchmarks.speed.padding", "--contender", name]
            command += ["--source", given.source, "--data", str(given.data.resolve())]
            found = measure([*command, "--seconds", str(given.seconds)])
            own.append(found["events"] / found["cpu_s"])
            memory[name] = max(memory.get(name, 0.0), found["peak_mib"])
    sys.stdout.write(
        f"{processor()}, one thread; {given.source}: {log.num_users:,} users, "
        f"{mean:.1f} of {MAX_LEN} positions in the mean\n\n"
        "| windows | events a processor second, median [least, most] | peak MiB |\n|---|---|---|\n"
    )
    for name, own in rates.items():
        least, most = min(own), max(own)
        sys.stdout.write(
            f"| {name} | {statistics.median(own):,.0f} [{least:,.0f}, {most:,.0f}] "
            f"| {memory[name]:,.0f} |\n"
        )


if __name__ == "__main__":
    main()
