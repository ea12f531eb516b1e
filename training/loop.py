"""The training loop: one read from top to bottom.

Deterministic for one seed, one number of threads and one kind of machine, also when it is killed
and goes on from a checkpoint.
"""

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.config.optim import OptimConfig
from training.config.run import RunConfig
from training.contracts import Int64
from training.errors import NoDataError
from training.guard import check_learned, ends_of, fails, go_back
from training.meter import Meter
from training.model.recommender import Recommender
from training.objective import loss_of
from training.packing import Windows, pack
from training.problem import Problem
from training.schedule import make_optimizer, step_size
from training.setting import Setting
from training.sharded import weights_of
from training.shards import SharedOut, generator, shares, threads
from training.state import State
from training.weights import Weights

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
    num_skipped: int = 0
    """Steps that failed and were passed over."""
    best_score: float | None = None
    """The best answer of the users that were asked; None where nobody was."""

    def to_json(self) -> dict[str, float]:
        """Return the JSON form."""
        return {name: value for name, value in asdict(self).items() if value is not None}


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
    setting: Setting,
) -> Trained:
    """Fit ``network`` in place; raises DivergedError and NoDataError.

    Sharded weights leave the network until it is fitted; they want one thread of each process, and
    ConfigError is raised for more.
    """
    windows, tracker = problem.windows, setting.tracker
    if not problem.asks_anything:
        raise NoDataError("training: no token of the data is a target")
    per_epoch = math.ceil(windows.lengths.sum() / config.batch_tokens)
    num_steps = num_epochs * per_epoch
    weights = weights_of(network, setting.processes, num_threads=config.num_threads)
    state = State(
        weights=weights.named,
        optimizer=make_optimizer(weights.named.values(), optim),
        average_decay=optim.average_decay,
    )
    setting.take_up(state, weights, num_steps)
    meter = Meter(problem, config, num_epochs=num_epochs, num_steps=num_steps, first=state.step)
    plan = functools.lru_cache(maxsize=2)(
        functools.partial(steps_of, windows, batch_tokens=config.batch_tokens, seed=config.seed)
    )
    # windows are as long in every epoch, and with them the steps are as many
    of_epoch = functools.lru_cache(maxsize=2)(functools.partial(problem.of_epoch, seed=config.seed))
    snapshot = state.snapshot()
    weights.network.train()

    with threads(config.num_threads) as each:
        while state.step < num_steps and not is_over(state, config):
            epoch, at = divmod(state.step, per_epoch)
            # 1. what a failed step goes back to, and a killed run; always at the same steps
            if state.step % config.guard.snapshot_steps == 0:
                snapshot = state.snapshot()
                setting.keep(snapshot, weights)

            # 2. the loss of the step's windows and its gradient, on every thread
            learned = None
            if state.step not in state.skipped:
                chosen = plan(epoch=epoch)[at]
                learned = learn(state.step, of_epoch(epoch), config, chosen, each, weights)

            # 3. the step, unless it has failed or asks for nothing
            if learned is not None:
                norm = weights.clip(optim.clip_norm)
                if fails(learned, norm, state.losses, config.guard):
                    tracker.log_line(f"step {state.step} failed, loss {learned}: it is skipped")
                    go_back(state, snapshot, config.guard, loss=learned)
                    continue
                rate = step_size(state.step, num_steps, optim)
                state.take_step(learned, step_size=rate)
                if state.step % REPORT_EVERY == 0 or state.step == num_steps - 1:
                    meter.report(tracker, state, gradient_norm=norm, learning_rate=rate)
            state.step += 1

            # 4. how good it is by now
            is_due = state.step % (config.stopping.every_epochs * per_epoch) == 0
            if problem.kept_back is not None and is_due:
                ask = functools.partial(problem.kept_back.ask, weights.network.eval())
                with state.averaged():
                    state.take_in_score(weights.read(ask))
                weights.network.train()
                tracker.log_metrics({"validation": state.scores[-1]}, step=state.step)

    state.finish()
    weights.give_back()
    network.eval()
    check_learned(network, state, num_steps, config.guard)
    first_loss, last_loss = ends_of(state.losses)
    return Trained(
        num_steps=len(state.losses),
        num_targets=problem.num_targets,
        first_loss=first_loss,
        last_loss=last_loss,
        num_skipped=len(state.skipped),
        best_score=max(state.scores, default=None),
    )


def is_over(state: State, config: RunConfig) -> bool:
    """Return whether the users that are asked have had no better answer for too long."""
    return state.num_worse() >= config.stopping.patience


def learn(
    step: int,
    problem: Problem,
    config: RunConfig,
    chosen: Int64,
    each: SharedOut,
    weights: Weights,
) -> float | None:
    """Leave the gradient of the mean loss of windows on the weights; return the loss.

    Returns None where the windows ask for nothing.
    """
    processes, windows = weights.processes, problem.windows
    # every process cuts the step alike and takes a part of its own
    own = config.num_threads * config.accumulate
    parts = shares(chosen, windows.lengths, count=own * processes.count)
    mine = range(own * processes.rank, min(own * (processes.rank + 1), len(parts)))
    packed = functools.cache(lambda part: pack(windows, parts[part]))
    (weight,) = processes.total(
        sum(float(problem.weight_TK[packed(part).current_P].sum()) for part in mine)
    )
    if weight == 0.0:
        return None
    # the item ids that are hidden in this step, the same ones on all threads
    hidden_M = (
        torch.rand(len(problem.items.ids), generator=generator(config.seed, step))
        < config.model.id_dropout
    )

    def loss_of_part(part: int) -> Tensor:
        draw = generator(config.seed, step, part)
        return loss_of(weights.network, problem, packed(part), config, hidden_M, draw)

    total = weights.add_gradients(loss_of_part, mine, each)
    for parameter in weights.named.values():
        assert parameter.grad is not None
        parameter.grad = parameter.grad / weight
    (total,) = processes.total(total)
    return total / weight
