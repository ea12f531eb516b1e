"""When a step has failed: a loss that is not finite, or far above those before it."""

import math
import statistics
from collections.abc import Sequence

from torch import nn

from training.config.optim import GuardConfig
from training.errors import DivergedError, NoDataError
from training.state import Snapshot, State

_REMEMBERED = 64
"""Losses whose median a spike is measured by."""

_LEAST = 16
"""With fewer of them there is no spike: the first losses say little."""


_NATS = 1.0
"""What a median counts at least: a model that knows nearly everything loses several nats at once
where an id is hidden, and has not diverged."""


def fails(loss: float, gradient_norm: float, before: Sequence[float], guard: GuardConfig) -> bool:
    """Return whether a step must not be taken."""
    if not (math.isfinite(loss) and math.isfinite(gradient_norm)):
        return True
    recent = before[-_REMEMBERED:]
    if len(recent) < _LEAST:
        return False
    return loss > guard.spike_factor * max(statistics.median(recent), _NATS)


def check_learned(network: nn.Module, state: State, num_steps: int, guard: GuardConfig) -> None:
    """Raise where a run has nothing to show for its steps, NoDataError or DivergedError.

    A run of a few steps has no median that a spike could be told by; its ends tell.
    """
    losses, skipped = state.losses, state.skipped
    if not losses and not skipped:
        raise NoDataError(f"training: none of {num_steps} steps reads a position that is asked")
    if not losses:
        raise DivergedError(f"training: none of {num_steps} steps had a finite loss")
    if len(skipped) > len(losses):
        raise DivergedError(
            f"training: {len(skipped)} steps failed and {len(losses)} did not: lower the learning "
            "rate or clip_norm"
        )
    if not all(bool(weight.isfinite().all()) for weight in network.parameters()):
        raise DivergedError(
            f"training: weights are not finite after step {state.step - 1}, the last one: lower "
            "the learning rate or weight_decay"
        )
    first, last = ends_of(losses)
    if last > guard.spike_factor * max(first, _NATS):
        raise DivergedError(
            f"training: the loss rose from {first:.4g} to {last:.4g} in {len(losses)} steps: lower "
            "the learning rate or clip_norm"
        )


def ends_of(losses: Sequence[float]) -> tuple[float, float]:
    """Return the mean of the first tenth of the losses, and of the last one."""
    tenth = max(1, len(losses) // 10)
    return statistics.fmean(losses[:tenth]), statistics.fmean(losses[-tenth:])


def go_back(state: State, snapshot: Snapshot, guard: GuardConfig, *, loss: float) -> None:
    """Return ``state`` to ``snapshot``, with the step that failed among those that are skipped.

    Raises DivergedError at one more than ``guard.max_skipped``.
    """
    failed, skipped = state.step, [*state.skipped, state.step]
    if len(skipped) > guard.max_skipped:
        raise DivergedError(
            f"training: the loss is {loss} at step {failed}, and steps {state.skipped} were "
            "skipped before: lower the learning rate or clip_norm"
        )
    state.restore(snapshot)
    state.skipped = skipped
