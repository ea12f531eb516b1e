"""How fast the simulated world writes raw events to Parquet files, and in how much memory.

    python -m benchmarks.world
    python -m benchmarks.world --size 50_000_000 10 2 --rounds 5

Each run is a fresh process that writes its days, spread over worker processes, as
``benchmarks.tokens.inputs.simulated`` does. Everything counts: start and imports, drawing the users
and titles, the evening before a worker's first day, the catalogue; so the longer a run, the higher
its rate. Sizes take turns, round after round; figures are medians over the rounds, with the least
and the most. Processor time is that of all processes, memory the largest resident set of one.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tokens import inputs

SIZES = (
    (1_000_000, 5, 2),
    (3_000_000, 10, 1),
    (3_000_000, 10, 2),
    (10_000_000, 10, 2),
    (3_300_000, 1, 1),
)
"""Events, days and processes; the last one is one day of five million, since it is a Sunday."""
_COLUMNS = (
    "events",
    "days",
    "processes",
    "wall s",
    "CPU s",
    "thousand events per CPU s",
    "thousand events/s",
    "peak MiB",
)

Size = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Run:
    """What writing some days took."""

    rows: int
    wall_s: float
    cpu_s: float
    peak_mib: float


def run(size: Size) -> Run:
    """Write the events of a size in a fresh process, and remove them."""
    given = [f"{number}" for number in size]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.world", "--write", folder, "--size", *given]
        started = time.monotonic()
        child = subprocess.Popen(command)
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.monotonic() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            sys.exit(f"{' '.join(command)} failed: {child.returncode}")
        rows = inputs.read_input(Path(folder)).rows
    return Run(rows, wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def table(runs: dict[Size, list[Run]]) -> str:
    """Return the figures as Markdown."""
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    for (_, days, processes), each in runs.items():
        cells = (
            f"{each[0].rows:,}",
            f"{days}",
            f"{processes}",
            _spread(each, lambda one: one.wall_s, ".1f"),
            _spread(each, lambda one: one.cpu_s, ".1f"),
            _spread(each, lambda one: one.rows / one.cpu_s / 1e3, ".0f"),
            _spread(each, lambda one: one.rows / one.wall_s / 1e3, ".0f"),
            _spread(each, lambda one: one.peak_mib, ",.0f"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(runs: list[Run], figure: Callable[[Run], float], form: str) -> str:
    values = [figure(one) for one in runs]
    return f"{statistics.median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"


def main() -> None:
    """Print the table, or write one input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--size",
        action="append",
        nargs=3,
        type=int,
        metavar=("EVENTS", "DAYS", "PROCESSES"),
        help="may be given several times",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = [tuple(size) for size in arguments.size or SIZES]
    if arguments.write:
        events, days, processes = sizes[0]
        inputs.simulated(arguments.write, events=events, num_days=days, processes=processes)
        return
    runs: dict[Size, list[Run]] = defaultdict(list)
    for _ in range(arguments.rounds):
        for size in sizes:
            runs[size].append(run(size))
    print(table(runs))


if __name__ == "__main__":
    main()
