"""What each process keeps of a model with many items, with whole and with shared weights.

    python -m benchmarks.speed.sharding [--items 1000000] [--processes 2]

The ``ordered`` recipe with a sampled softmax, as in ``benchmarks.speed.catalogue``, one thread a
process, eleven steps, of which the last ten are timed: the process's own time, what it sends and
receives included. *Kept* are weights, their gradients and AdamW's moments between two steps; the
snapshot that a failed step goes back to holds weights and moments once more. *Peak* is the largest
resident set of a process, imports and data included.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from benchmarks.speed.__main__ import processor
from benchmarks.speed.catalogue import config_of, log_of
from benchmarks.speed.contender import EnoughError
from training.pretrain import pretrain
from training.processes import joined
from training.tracker import SilentTracker
from training.utilisation import peak_memory_mib

MIB = 2**20


def main() -> None:
    """Measure every way and print a table; or be one process of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--sharded", action="store_true", help="as one of the processes")
    parser.add_argument("--say-in", type=Path, help="as one of the processes")
    given = parser.parse_args()
    if given.say_in:
        take_part(given.items, given.say_in, is_sharded=given.sharded)
        return
    sys.stdout.write(f"{processor()}, {given.items:,} items\n\n")
    sys.stdout.write("| processes | weights | kept MiB, each | peak MiB, each | CPU s a step |\n")
    sys.stdout.write("|---|---|---|---|---|\n")
    for count, how in ((1, "whole"), (given.processes, "whole"), (given.processes, "sharded")):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
            command += ["--nproc-per-node", str(count), "-m", "benchmarks.speed.sharding"]
            command += ["--items", str(given.items), "--say-in", folder]
            command += ["--sharded"] * (how == "sharded")
            subprocess.run(command, check=True)
            said = [json.loads(path.read_text()) for path in Path(folder).iterdir()]
        row = [f"{max(one[key] for one in said):,.0f}" for key in ("kept_mib", "peak_mib")]
        step_s = max(one["step_s"] for one in said)
        sys.stdout.write(f"| {count} | {how} | {' | '.join(row)} | {step_s:.2f} |\n")
        sys.stdout.flush()


class Clock(SilentTracker):
    """A tracker that ends the run at the second point of its curves, on every process alike."""

    def __init__(self) -> None:
        """Begin without a point."""
        self._first: tuple[int, float] | None = None
        self.step_s = 0.0
        """Processor time of a step."""

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:  # noqa: ARG002
        """Look at the clock; the loop reports every ten steps."""
        if self._first is None:
            self._first = (step, time.process_time())
            return
        first, began = self._first
        self.step_s = (time.process_time() - began) / (step - first)
        raise EnoughError


def take_part(num_items: int, say_in: Path, *, is_sharded: bool) -> None:
    """Train a little; leave what was kept between two steps in a file."""
    kept = {"mib": 0.0}

    def look(optimizer: Any, *_: object) -> None:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        moments = (moment for state in optimizer.state.values() for moment in state.values())
        gradients = (weight.grad for weight in weights)
        kept["mib"] = _mib(weights) + _mib(gradients) + _mib(moments)

    register_optimizer_step_post_hook(look)
    clock = Clock()
    with (
        joined(is_sharded=is_sharded) as processes,
        tempfile.TemporaryDirectory() as folder,
        suppress(EnoughError),
    ):
        data, config = log_of(num_items), config_of("sampled")
        pretrain(data, config, Path(folder), clock, processes=processes)
    said = {
        "kept_mib": kept["mib"],
        "peak_mib": peak_memory_mib(),
        "step_s": clock.step_s,
    }
    (say_in / f"{processes.rank}.json").write_text(json.dumps(said))


def _mib(tensors: Iterable[Tensor]) -> float:
    return sum(tensor.nbytes for tensor in tensors) / MIB


if __name__ == "__main__":
    main()
