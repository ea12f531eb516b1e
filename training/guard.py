"""When a step has failed: a loss that is not finite, or far above those before it."""

import math
import statistics
from collections.abc import Sequence

from training.config.optim import GuardConfig
from training.errors import DivergedError
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
