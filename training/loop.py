"""The training loop: one read from top to bottom.

Deterministic for one seed, one number of threads and one kind of machine. It writes nothing: the
caller keeps the weights, so a killed run leaves nothing half-done.
"""

import functools
import itertools
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.config import OptimConfig, RunConfig
from training.contracts import Int64
from training.errors import DivergedError, NoDataError
from training.model.recommender import Recommender
from training.objective import loss_of
from training.packing import Packed, Windows, pack
from training.problem import Problem
from training.shards import generator, shares, threads
from training.tracker import Tracker

REPORT_EVERY = 10
"""Steps between two points of a curve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a run says of itself; nothing in it depends on the clock."""

    num_steps: int
    num_targets: int
    """Pairs of a position and a target in one pass."""
    first_loss: float
    """Mean loss of the first tenth of the steps."""
    last_loss: float
    """Mean loss of the last tenth of the steps."""

    def to_json(self) -> dict[str, float]:
        """Return the JSON form."""
        return asdict(self)


@contextmanager
def deterministic(num_threads: int) -> Iterator[None]:
    """Fix what torch does on this process's threads, and restore it afterwards."""
    threads, was_strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    strictness: Any = torch.utils.deterministic  # its one setting is not in the stubs
    was_filling = strictness.fill_uninitialized_memory
    torch.set_num_threads(num_threads)
    torch.use_deterministic_algorithms(mode=True)
    # strict mode also fills every fresh tensor, 3 % of a step; nothing here reads one unwritten
    strictness.fill_uninitialized_memory = False
    try:
        yield
    finally:
        strictness.fill_uninitialized_memory = was_filling
        torch.use_deterministic_algorithms(mode=was_strict)
        torch.set_num_threads(threads)


def step_size(step: int, num_steps: int, optim: OptimConfig) -> float:
    """Return the learning rate of a step: linear warm-up, then a cosine to the final share."""
    warmup = max(1, round(optim.warmup_share * num_steps))
    if step < warmup:
        return optim.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - warmup)
    cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
    return optim.learning_rate * (optim.final_share + (1.0 - optim.final_share) * cosine)


def make_optimizer(network: Recommender, optim: OptimConfig) -> torch.optim.AdamW:
    """Return AdamW that decays matrices only."""
    matrices = [p for p in network.parameters() if p.ndim >= 2]
    others = [p for p in network.parameters() if p.ndim < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": optim.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=optim.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )


def steps_of(windows: Windows, *, batch_tokens: int, epoch: int, seed: int) -> list[Int64]:
    """Return the windows of every step of an epoch, shuffled; as many steps in every epoch.

    A step has the windows that end within its share of all positions.
    """
    order = np.random.default_rng([seed, 1, epoch]).permutation(len(windows))
    ends = np.cumsum(windows.lengths[order])
    bounds = np.arange(batch_tokens, ends[-1], batch_tokens)
    return np.split(order, np.searchsorted(ends, bounds, side="right"))


def train(
    network: Recommender,
    problem: Problem,
    config: RunConfig,
    *,
    optim: OptimConfig,
    num_epochs: int,
    tracker: Tracker,
) -> Trained:
    """Fit ``network`` in place; raises DivergedError and NoDataError."""
    windows, num_targets = problem.windows, problem.num_targets
    if num_targets == 0:
        raise NoDataError("training: no token of the data is a target")
    num_steps = num_epochs * math.ceil(windows.lengths.sum() / config.batch_tokens)
    optimizer = make_optimizer(network, optim)
    parameters = list(network.parameters())
    losses: list[float] = []
    started = time.monotonic()
    network.train()

    steps = itertools.chain.from_iterable(
        steps_of(windows, batch_tokens=config.batch_tokens, epoch=epoch, seed=config.seed)
        for epoch in range(num_epochs)
    )
    with threads(config.num_threads) as each:
        for step, chosen in enumerate(steps):
            # 1. the windows of each thread, and the item ids that are hidden in this step
            packed = [
                pack(windows, part)
                for part in shares(chosen, windows.lengths, count=config.num_threads)
            ]
            weight = sum(float(problem.weight_TK[one.current_P].sum()) for one in packed)
            if weight == 0.0:
                continue
            hidden_M = (
                torch.rand(len(problem.items.ids), generator=generator(config.seed, step))
                < config.model.id_dropout
            )

            # 2. forward and backward of each
            def learn(
                shard: int,
                step: int = step,
                packed: list[Packed] = packed,
                hidden_M: Tensor = hidden_M,
            ) -> tuple[float, tuple[Tensor, ...]]:
                draw = generator(config.seed, step, shard)
                loss = loss_of(network, problem, packed[shard], config, hidden_M, draw)
                grads = torch.autograd.grad(
                    loss, parameters, materialize_grads=True, allow_unused=True
                )
                return loss.item(), grads

            learned = each(learn, range(len(packed)))
            losses.append(sum(loss for loss, _ in learned) / weight)
            if not math.isfinite(losses[-1]):
                raise DivergedError(
                    f"training: the loss is {losses[-1]} at step {step} of {num_steps}; lower "
                    f"{optim.learning_rate=} or {optim.clip_norm=}"
                )

            # 3. the step, with the gradient of the mean over all targets
            for parameter, *grads in zip(parameters, *(grads for _, grads in learned), strict=True):
                parameter.grad = functools.reduce(torch.add, grads) / weight
            norm = torch.nn.utils.clip_grad_norm_(parameters, optim.clip_norm)
            for group in optimizer.param_groups:
                group["lr"] = step_size(step, num_steps, optim)
            optimizer.step()

            # 4. progress; the only use of the clock, and it reaches nothing that is kept
            if step % REPORT_EVERY == 0 or step == num_steps - 1:
                done = step + 1
                rate = done / (time.monotonic() - started)
                tracker.log_metrics(
                    {
                        "loss": losses[-1],
                        "gradient_norm": float(norm),
                        "learning_rate": step_size(step, num_steps, optim),
                        "targets_per_s": rate * num_targets * num_epochs / num_steps,
                    },
                    step=step,
                )
                if step % (10 * REPORT_EVERY) == 0 or done == num_steps:
                    tracker.log_line(
                        f"step {done}/{num_steps}  loss {losses[-1]:.3f}  "
                        f"{(num_steps - done) / rate:.0f} s left"
                    )

    network.eval()
    tenth = max(1, len(losses) // 10)
    return Trained(
        num_steps=len(losses),
        num_targets=num_targets,
        first_loss=float(np.mean(losses[:tenth])),
        last_loss=float(np.mean(losses[-tenth:])),
    )
