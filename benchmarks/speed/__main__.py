"""Trained events a second of the same shape: ours beside what one would run instead, in one run.

    python -m benchmarks.speed --data <folder of ml-1m> [--rounds 3] [--seconds 40] [--threads 2]

SASRec, 64 dimensions, two layers, 200 positions, full softmax over 3,416 items. Every contender is
a fresh process in an environment of its own; contenders take turns, round after round. Memory is
the largest resident set of the process, so ours, too, has its data and its imports in it.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.speed import peers
from benchmarks.tokens.peers import install_into

OURS = "ours"
# threads of OpenMP that wait in a loop take the processor from whoever works
_QUIET = {"OMP_WAIT_POLICY": "passive"}
_COMPLAINTS = 5
"""Lines of a contender that fails."""


def matmul_peak(num_threads: int, *, size: int = 2048, rounds: int = 20) -> float:
    """Return float32 GFLOP/s of a square matrix product on so many threads, the best of some."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    left, right = torch.randn(2, size, size)
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - began)
    torch.set_num_threads(before)
    return 2 * size**3 / best / 1e9


def model_mflop() -> float:
    """Return what training one packed event takes, forward and backward (three times forward).

    Two layers of four 64 x 64 products and two more of the feed-forward part, causal attention over
    a mean of 54 earlier positions, and 3,416 logits of 64.
    """
    width, layers, items, earlier = 64, 2, 3416, 54
    linear = layers * 6 * 2 * width * width
    attention = layers * 2 * 2 * width * earlier
    return 3 * (linear + attention + 2 * width * items) / 1e6


def measure(command: list[str]) -> dict[str, float]:
    """Run a contender to its end and return its figures with its peak memory.

    Raises SystemExit with the end of what it complained of where it fails.
    """
    environment = {**os.environ, **_QUIET}
    with (
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=complaints, env=environment, text=True
        ) as process,
    ):
        assert process.stdout is not None
        said, peak = "", 0
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            lines = status.read_text().splitlines() if status.exists() else []
            peak = max([peak, *(int(x.split()[1]) for x in lines if x.startswith("VmHWM"))])
            time.sleep(0.5)
        said = process.stdout.read()
        complaints.seek(0)
        last = "".join(complaints.readlines()[-_COMPLAINTS:])
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{last}")
    return {**json.loads(said.splitlines()[-1]), "peak_mib": peak / 1024}


def processor() -> str:
    """Return the processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _peers(text: str) -> list[str]:
    chosen = [name for name in text.split(",") if name]
    if unknown := sorted({*chosen} - {*peers.PACKAGES}):
        raise argparse.ArgumentTypeError(f"want some of {sorted(peers.PACKAGES)}, got {unknown}")
    return chosen


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache/marquee-peers")
    parser.add_argument("--peers", type=_peers, default="rectools,replay,plain_torch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    options = ["--data", str(given.data.resolve()), "--threads", str(given.threads)]
    options += ["--seconds", str(given.seconds)]
    commands = {OURS: [sys.executable, "-m", "benchmarks.speed.ours", *options]}
    for name in given.peers:
        python = install_into(given.folder / name, peers.PACKAGES[name])
        commands[name] = [str(python), peers.__file__, name, *options]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for _ in range(given.rounds):
        for name, command in commands.items():
            found[name].append(measure(command))
    peak = matmul_peak(given.threads)
    sys.stdout.write(
        f"{processor()}, {os.cpu_count()} processors, {given.threads} threads, float32 matmul "
        f"{peak:.0f} GFLOP/s\n\n"
        "| contender | events/s, median [least, most] | against ours | of the matmul peak | "
        "processor s a wall s | peak MiB |\n|---|---|---|---|---|---|\n"
    )
    ours = statistics.median(one["events"] / one["wall_s"] for one in found[OURS])
    for name, runs in found.items():
        rates = sorted(one["events"] / one["wall_s"] for one in runs)
        rate = statistics.median(rates)
        busy = statistics.median(one["cpu_s"] / one["wall_s"] for one in runs)
        memory = max(one["peak_mib"] for one in runs)
        sys.stdout.write(
            f"| {name} | {rate:,.0f} [{rates[0]:,.0f}, {rates[-1]:,.0f}] | {rate / ours:.3f} | "
            f"{rate * model_mflop() / 1e3 / peak:.0%} | {busy:.2f} | {memory:,.0f} |\n"
        )


if __name__ == "__main__":
    main()
