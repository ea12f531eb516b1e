"""What validation adds to taking in a day, by the size of the day.

    python -m benchmarks.validation
    python -m benchmarks.validation --events 3_400_000 --rounds 5

Days of the simulated world lie in Parquet and are read as a user's own log, so nothing is measured
of simulating them. Every step runs in a process of its own, warmed up on a small day first; memory
is the largest resident set of the process, the engine's 400 MiB of modules included. Figures are
medians over the rounds with the least and the most.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assets.day_figures import Arrived
from assets.validation import validate_day
from benchmarks.tokens import inputs
from training.buckets import in_threads
from training.events.artifacts import scan_events, write_quarantined, write_raw, write_valid
from training.events.day_aggregates import DayAggregates, aggregates_of, sample_of
from training.events.mapping_file import mapping_from
from training.events.own_log import OwnLog
from training.events.parts import part_paths
from training.events.simulated import SIMULATED_SCHEMA
from training.tokens.config import TokenizerConfig
from training.tokens.storage import write_tokens

SIZES = (700_000, 3_400_000, 6_800_000)
"""Events asked for; the first day of the world, a Sunday, has half as many again."""

WARM_UP = 20_000
THREADS = in_threads(os.cpu_count() or 1)
GOAL = 0.2
_AFTER_EVERYTHING = datetime(9999, 12, 31, tzinfo=UTC)


def own_log(given: inputs.Input) -> OwnLog:
    """Return the day's files as somebody's own log."""
    (day,) = given.days
    files = [str(path) for path in part_paths(given.raw(day))]
    instant = {"unit": "timestamp", "zone": "UTC"}
    fixed = {name: name for name in ("event_id", "user_id", "item_id", "action")}
    instants = {name: {"column": name, **instant} for name in ("occurred_at", "received_at")}
    facets = [
        {"name": one.name, "kind": str(one.kind), "phase": str(one.phase)}
        | ({"unit": "ms"} if one.kind == "duration" else {})
        for one in SIMULATED_SCHEMA.facets
    ]
    document = {
        "format_version": 1,
        "name": "simulated",
        "events": {"files": files, "format": "parquet", **fixed, **instants},
        "actions": [{"name": one.name, "role": str(one.role)} for one in SIMULATED_SCHEMA.actions],
        "facets": facets,
        "catalogue": {"kind": "title"},
        "world": {"first_day": day.isoformat(), "last_day": day.isoformat()},
    }
    return OwnLog(mapping_from(document))


def take_in(given: inputs.Input, work: Path) -> float:
    """Take a day in, up to its tokens; return the seconds."""
    (day,) = given.days
    folders = {name: work / name for name in ("raw", "valid", "quarantined", "tokens")}
    for folder in folders.values():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    source = own_log(given)
    _ = source.days  # what is known of files is kept between runs
    started = time.perf_counter()
    write_raw(source, day, _AFTER_EVERYTHING, folders["raw"])
    made_of = (folders["raw"], given.catalogue, day)
    write_valid(*made_of, folders["valid"], each_bucket=THREADS)
    write_quarantined(*made_of, folders["quarantined"], each_bucket=THREADS)
    write_tokens(folders["valid"], TokenizerConfig(), folders["tokens"], each_bucket=THREADS)
    return time.perf_counter() - started


def validate(given: inputs.Input, work: Path) -> float:
    """Judge a day that was taken in, against a week of equal ones; return the seconds."""
    (day,) = given.days
    schema, events = scan_events(work / "valid")
    week = [_usual(work)] * 7
    rows = week[0].rows
    started = time.perf_counter()
    verdict = validate_day(
        events,
        schema=schema,
        day=day,
        arrived=Arrived(rows_in=rows, quarantined=0, duplicates=0),
        week=week,
    )
    seconds = time.perf_counter() - started
    if verdict.is_blocked:
        raise SystemExit(f"{day} is blocked: {', '.join(verdict.failed)}")
    return seconds


def _usual(work: Path) -> DayAggregates:
    kept = work / "usual.json"
    if not kept.exists():
        schema, events = scan_events(work / "valid")
        found = aggregates_of(events, schema, sample_of(events))
        kept.write_text(json.dumps(found.to_json()))
    return DayAggregates.from_json(json.loads(kept.read_text()))


STEPS: Mapping[str, Callable[[inputs.Input, Path], float]] = {
    "take_in": take_in,
    "validate": validate,
}


def run_step(step: str, folder: Path, events: int) -> None:
    """Run a step in this process, warm, and print what it took."""
    if step == "make":
        inputs.simulated(folder / str(events), events=events, num_days=1, processes=1)
        print(json.dumps({}))
        return
    for size in (WARM_UP, events):
        place = folder / str(size)
        seconds = STEPS[step](inputs.read_input(place), place / "work")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak_mib}))


def measured(step: str, folder: Path, events: int) -> dict[str, Any]:
    """Return what a step took in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.validation", "--step", step]
    command += ["--folder", str(folder), "--events", str(events)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(folder: Path, sizes: list[int], rounds: int) -> None:
    """Make the days, run the rounds, print the table as it grows."""
    print("| rows of the day | ingestion s | validation s | share | peak MiB, validation |")
    print("|---:|---:|---:|---:|---:|", flush=True)
    for events in (WARM_UP, *sizes):
        measured("make", folder, events)
        given = inputs.read_input(folder / str(events))
        if events == WARM_UP:
            measured("take_in", folder, events)
            continue
        runs = [{step: measured(step, folder, events) for step in STEPS} for _ in range(rounds)]
        took = {step: [one[step]["seconds"] for one in runs] for step in STEPS}
        shares = [
            validated / taken
            for validated, taken in zip(took["validate"], took["take_in"], strict=True)
        ]
        peak = max(one["validate"]["peak_mib"] for one in runs)
        print(
            f"| {given.rows:,} | {spread(took['take_in'], '.1f')} "
            f"| {spread(took['validate'], '.2f')} | {spread(shares, '.1%')} | {peak:,.0f} |",
            flush=True,
        )


def spread(values: list[float], form: str) -> str:
    """Return the median with the least and the most."""
    median = statistics.median(values)
    return f"{median:{form}} [{min(values):{form}}, {max(values):{form}}]"


def main() -> None:
    """Compare, or run one step in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "validation")
    parser.add_argument("--events", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--step", choices=("make", *STEPS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        run_step(arguments.step, arguments.folder, arguments.events[0])
        return
    compare(arguments.folder, arguments.events, arguments.rounds)


if __name__ == "__main__":
    main()
