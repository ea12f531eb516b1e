"""The training loop: one read from top to bottom.

Deterministic for one seed, one number of threads and one kind of machine. It writes nothing: the
caller keeps the weights, so a killed run leaves nothing half-done.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from training.config import OptimConfig, RunConfig
from training.contracts import Int64
from training.errors import DivergedError, NoDataError
from training.model.batch import gather_batch
from training.model.loss import cross_entropy
from training.model.recommender import Recommender
from training.packing import NOTHING
from training.problem import Problem
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


def _shuffled_batches(
    num_rows: int, *, batch_rows: int, num_epochs: int, seed: int
) -> Iterator[Int64]:
    draw = np.random.default_rng([seed, 1])
    for _ in range(num_epochs):
        order = draw.permutation(num_rows)
        for start in range(0, num_rows, batch_rows):
            yield order[start : start + batch_rows]


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
    num_rows, num_targets = len(problem.rows), problem.num_targets
    if num_targets == 0:
        raise NoDataError("training: no token of the data is a target")
    num_steps = num_epochs * math.ceil(num_rows / config.batch_rows)
    optimizer = make_optimizer(network, optim)
    draw = torch.Generator().manual_seed(config.seed)
    losses: list[float] = []
    started = time.monotonic()
    network.train()

    batches = _shuffled_batches(
        num_rows, batch_rows=config.batch_rows, num_epochs=num_epochs, seed=config.seed
    )
    for step, chosen in enumerate(batches):
        # 1. the rows, with some requests and some item ids hidden, as they will be in service
        batch = gather_batch(problem.tokens, problem.rows, chosen)
        hidden_BL = torch.rand(batch.item_BL.shape, generator=draw) < config.model.request_dropout
        batch = batch.hide_requests(hidden_BL)
        hidden_M = torch.rand(len(problem.items.ids), generator=draw) < config.model.id_dropout

        # 2. positions whose token is a target; padding has no token
        current = torch.from_numpy(problem.rows.current_RL[chosen]).flatten()
        weight_PK = problem.weight_TK[current.clamp(min=0)] * (current != NOTHING)[:, None]
        places = weight_PK.sum(dim=1).nonzero()[:, 0]
        if len(places) == 0:
            continue

        # 3. forward, and the loss over the whole catalogue
        encoding_MD, bias_M = network.items(problem.items, hidden_M)
        hidden_BLD = network.hidden(encoding_MD, batch)
        loss = cross_entropy(
            network.user_vectors(hidden_BLD.flatten(0, 1)[places]),
            network.item_vectors(encoding_MD, bias_M),
            problem.target_TK[current[places]],
            weight_PK[places],
            chunk=config.chunk_targets,
        )
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise DivergedError(
                f"training: the loss is {losses[-1]} at step {step} of {num_steps}; lower "
                f"{optim.learning_rate=} or {optim.clip_norm=}"
            )

        # 4. backward and the step
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), optim.clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = step_size(step, num_steps, optim)
        optimizer.step()

        # 5. progress; the only use of the clock, and it reaches nothing that is kept
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
