"""Runs on two processes that share the weights out: started by torchrun, read by tests.

``torchrun ... -m tests.unit.training.loop.sharing JOB``: the job is a file of JSON that names a
lake, a folder for what each process has to say, and the runs.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.unit.training.conftest import SilentTracker, SmallLake
from tests.unit.training.loop.conftest import Learnable, run, small_problem
from training import loop
from training.checkpoint import Checkpoints
from training.config.model import HeadsConfig
from training.config.optim import GuardConfig, StoppingConfig
from training.model.batch import gather_batch
from training.model.recommender import Recommender
from training.packing import Packed
from training.problem import Problem
from training.processes import ALONE, Processes, joined
from training.recipes import tiny
from training.setting import Setting
from training.stopping import keep_back, newest_targets

BASE: dict[str, Any] = {"num_epochs": 4, "batch_tokens": 64}
AVERAGED = {"optim": {"average_decay": 0.9}, "stopping": StoppingConfig(one_in=2, patience=2)}
EVERY_PART = replace(
    tiny().model,
    block="hstu",
    num_layers=2,
    relative_bias=("position", "time"),
    request_time_known=True,
    heads=HeadsConfig(names=("action", "duration", "genres", "device"), hierarchical=True),
    attention_window=6,
    attention_global=2,
    user_state="attention",
    layer_mix=True,
    layer_loss=0.2,
    item_gate="age_and_count",
    request_facets="all",
    request_numbers="periodic",
    request_calendar=True,
)
RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "clipped": {"optim": {"clip_norm": 0.01}},
    "pieces": {"accumulate": 2},
    # a step has 5 to 13 windows: the second process has few of them, or none
    "few windows": {"accumulate": 8, "batch_tokens": 32, "num_epochs": 2},
    "every part": {"model": EVERY_PART},
    "unreached": {},
    "averaged": {**AVERAGED, "num_epochs": 6},
    "spike": {"num_epochs": 6, "guard": GuardConfig(snapshot_steps=4)},
    "killed": {**AVERAGED, "guard": GuardConfig(snapshot_steps=3)},
}
SPIKE = 22


@dataclass(frozen=True)
class Job:
    """One run on each process."""

    name: str
    out: str
    """Folder for what the processes say."""
    checkpoints: str = ""
    killed_at: int = -1
    """Step before which the second process ends."""
    is_sharded: bool = True


def problem_of(lake: SmallLake, name: str) -> Learnable:
    network, learned, config = small_problem(
        lake, replace(tiny(), model=RUNS[name].get("model", tiny().model))
    )
    if "stopping" in RUNS[name]:
        histories = lake.data(lake.days[1]).histories()
        kept = newest_targets(histories, learned.weight_TK[:, 0].numpy() > 0, one_in=2)
        asked = keep_back(learned.items, learned.tokens, kept, max_len=32)
        learned = replace(learned, kept_back=asked)
    return network, learned, config


def take_part(lake: SmallLake, job: Job, processes: Processes = ALONE, **more: Any) -> Any:
    """Run a job; leave its curve, its weights and what the process kept of them."""
    problem, tracker = problem_of(lake, job.name), SilentTracker()
    checkpoints = None
    if job.checkpoints:
        checkpoints = Checkpoints(Path(job.checkpoints), {"run": job.name}, every_s=0.0)
    setting = Setting(tracker=tracker, processes=processes, checkpoints=checkpoints)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "REPORT_EVERY", 1)
        kept = _watch(patch, job.killed_at if processes.rank == 1 else -1)
        if job.name == "spike":
            _spoil(patch, SPIKE)
        if job.name == "unreached":
            patch.setattr(loop, "loss_of", _of_users_alone)
        trained = run(problem, setting, **{**BASE, **RUNS[job.name], **more})
    out = Path(job.out)
    out.mkdir(parents=True, exist_ok=True)
    said = {
        "losses": {step: one["loss"] for step, one in tracker.metrics if "loss" in one},
        "norms": {step: one["gradient_norm"] for step, one in tracker.metrics if "loss" in one},
        "scores": {step: one["validation"] for step, one in tracker.metrics if "validation" in one},
        "trained": trained.to_json(),
        "lines": tracker.lines,
        "kept": kept,
    }
    (out / f"{processes.rank}.json").write_text(json.dumps(said))
    weights = {name: weight.detach() for name, weight in problem[0].named_parameters()}
    save_file(weights, out / f"{processes.rank}.safetensors")


def _watch(patch: pytest.MonkeyPatch, killed_at: int) -> dict[str, int]:
    """Count the numbers that an optimizer moves, and its moments; end before a step."""
    plain, kept = torch.optim.AdamW.step, {"steps": 0}

    def step(self: Any, *given: Any, **named: Any) -> Any:
        if kept["steps"] == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        made = plain(self, *given, **named)
        moved = [weight for group in self.param_groups for weight in group["params"]]
        moments = [one["exp_avg"] for one in self.state.values()]
        kept["steps"] += 1
        kept["weights"] = sum(weight.numel() for weight in moved)
        kept["gradients"] = sum(weight.grad.numel() for weight in moved)
        kept["moments"] = sum(moment.numel() for moment in moments)
        return made

    patch.setattr(torch.optim.AdamW, "step", step)
    return kept


def _spoil(patch: pytest.MonkeyPatch, at: int) -> None:
    plain: Callable[..., float | None] = loop.learn

    def learn(step: int, *given: Any) -> float | None:
        loss = plain(step, *given)
        return loss * 100 if loss is not None and step == at else loss

    patch.setattr(loop, "learn", learn)


def _of_users_alone(
    network: Recommender, problem: Problem, packed: Packed, *_: object
) -> torch.Tensor:
    """Return a loss that reaches no bias and no output map; their weights decay all the same."""
    encoding_MD, _ = network.items(problem.items)
    batch = gather_batch(problem.tokens, packed)
    return network.hidden(encoding_MD, batch).sub(1.0).square().mean(dim=1).sum()


def write_jobs(path: Path, lake: SmallLake, *jobs: Job) -> None:
    text = {
        "root": str(lake.root),
        "days": [str(day) for day in lake.days],
        "jobs": [asdict(job) for job in jobs],
    }
    path.write_text(json.dumps(text))


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    days = tuple(date.fromisoformat(day) for day in given["days"])
    with joined() as group:
        for one in given["jobs"]:
            job = Job(**one)
            take_part(
                SmallLake(Path(given["root"]), days),
                job,
                replace(group, is_sharded=job.is_sharded),
            )
