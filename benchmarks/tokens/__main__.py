"""Raw events to training-ready histories: ours beside what one would run instead, in one run.

    python -m benchmarks.tokens --events 50_000_000 --days 10
    python -m benchmarks.tokens --movielens <folder of ratings.dat>

Every contender is a fresh process that reads the same files; contenders take turns, round after
round. Figures are medians over the rounds with the least and the most; memory is the largest
resident set of the process. A contender that passes ``--memory-gib`` or ``--minutes`` is ended and
reported so. The libraries' environments are made on the first run, below ``--folder``.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.tokens import inputs, peers
from benchmarks.tokens.contenders import CONTENDERS

_GIB = 1 << 30
_COLUMNS = (
    "contender",
    "wall s, median [least, most]",
    "against the first",
    "processor s",
    "million rows/s",
    "peak MiB",
    "histories",
)


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of one contender took."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    histories: int


def run(command: list[str], *, memory_bytes: float, limit_s: float) -> Run | str:
    """Run a contender to its end; return why it was ended, if it was."""
    with tempfile.TemporaryFile("w+") as said:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.DEVNULL)
        watched = psutil.Process(process.pid)
        ended = None
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - started > limit_s:
                ended = f"over {limit_s / 60:.0f} min"
            elif watched.memory_info().rss > memory_bytes:
                ended = f"over {memory_bytes / _GIB:.0f} GiB"
            if ended:
                process.kill()
                os.wait4(process.pid, 0)
                return ended
            time.sleep(0.05)
        if status:
            return f"failed ({os.waitstatus_to_exitcode(status)})"
        said.seek(0)
        last = said.read().split()[-1]
        return Run(
            time.monotonic() - started,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / 1024,
            int(last),
        )


def commands(
    folder: Path, given: inputs.Input, names: list[str], work: Path
) -> dict[str, list[str]]:
    """Return how each contender is started."""
    made = {}
    for name in names:
        if name in CONTENDERS:
            made[name] = [
                *(sys.executable, "-m", "benchmarks.tokens", "--contender", name),
                *("--folder", str(given.folder), "--work", str(work)),
            ]
        else:
            python = peers.install(name, folder / "environments" / name)
            made[name] = [str(python), peers.__file__, name, str(given.folder / "raw")]
    return made


def compare(arguments: argparse.Namespace) -> None:
    """Make the input, run the rounds, print the table."""
    folder: Path = arguments.folder
    started = time.monotonic()
    if arguments.movielens:
        given = inputs.movielens(folder / "movielens", arguments.movielens)
    else:
        name = f"simulated-{arguments.events}-{arguments.days}"
        given = inputs.simulated(
            folder / name, events=arguments.events, num_days=arguments.days, processes=2
        )
    said = {"rows": given.rows, "days": len(given.days), "input_s": time.monotonic() - started}
    print(json.dumps(said), flush=True)
    runs: dict[str, list[Run | str]] = defaultdict(list)
    work = folder / "work"
    for _ in range(arguments.rounds):
        for name, command in commands(folder, given, arguments.contenders, work).items():
            if any(isinstance(one, str) for one in runs[name]):
                continue  # ended once, and would be again
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            one = run(
                command,
                memory_bytes=arguments.memory_gib * _GIB,
                limit_s=arguments.minutes * 60,
            )
            runs[name].append(one)
            print(f"{name}: {one}", flush=True)
    shutil.rmtree(work, ignore_errors=True)
    print(table(given.rows, runs))


def table(rows: int, runs: dict[str, list[Run | str]]) -> str:
    """Return the figures as Markdown, against the first contender."""
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    first = None
    for name, each in runs.items():
        ended = [one for one in each if isinstance(one, str)]
        done = [one for one in each if isinstance(one, Run)]
        if ended or not done:
            lines.append(f"| {name} | {', '.join(ended)} | | | | | |")
            continue
        walls = [one.wall_s for one in done]
        median = statistics.median(walls)
        first = first or median
        lines.append(
            f"| {name} | {median:.1f} [{min(walls):.1f}, {max(walls):.1f}] "
            f"| {median / first:.2f} | {statistics.median(one.cpu_s for one in done):.1f} "
            f"| {rows / median / 1e6:.2f} | {max(one.peak_mib for one in done):,.0f} "
            f"| {done[0].histories:,} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Compare, or run one contender in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "tokens")
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--movielens", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-gib", type=float, default=12)
    parser.add_argument("--minutes", type=float, default=20)
    every = [*CONTENDERS, *peers.PACKAGES]
    parser.add_argument("--contenders", nargs="+", choices=every)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    # a folder per day is for what arrives by day, and all at once for what fits into memory
    unfit = "marquee" if arguments.movielens else "marquee_in_memory"
    arguments.contenders = arguments.contenders or [name for name in every if name != unfit]
    if arguments.contender:
        made = CONTENDERS[arguments.contender](inputs.read_input(arguments.folder), arguments.work)
        print(made)
        return
    compare(arguments)


if __name__ == "__main__":
    main()
