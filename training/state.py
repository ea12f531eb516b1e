"""Everything that a run goes on from: what a snapshot holds and a checkpoint keeps.

No generator is among it: every random draw is a function of (seed, step, shard).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

_AVERAGE, _BEST, _MOMENTS, _WEIGHTS = "average", "best", "moments", "weights"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A state at one step; it stays as it is while the run goes on."""

    tensors: Mapping[str, Tensor]
    """Weights, moments, average and best weights, by a path with dots."""

    facts: Mapping[str, Any]
    """The rest, in JSON."""

    @property
    def step(self) -> int:
        """The step that comes next."""
        return int(self.facts["step"])


@dataclass(slots=True, kw_only=True)
class State:
    """A run between two steps."""

    weights: Mapping[str, nn.Parameter]
    """What this process keeps of each, by name; moved in place."""

    optimizer: torch.optim.Optimizer
    average_decay: float
    step: int = 0
    """The step that comes next."""

    losses: list[float] = field(default_factory=list)
    """Mean loss of every step that was taken."""

    skipped: list[int] = field(default_factory=list)
    """Steps that failed: their windows are passed over."""

    scores: list[float] = field(default_factory=list)
    """The answers of the users that a run asks, higher is better."""

    average: dict[str, Tensor] = field(default_factory=dict)
    """Moving average of the weights; empty where there is none."""

    best: dict[str, Tensor] = field(default_factory=dict)
    """Weights of the best score so far; empty before any."""

    def __post_init__(self) -> None:
        """Begin the average at the weights."""
        if self.average_decay:
            self.average = _copies(self.weights)

    def take_step(self, loss: float, *, step_size: float) -> None:
        """Move the weights along the gradients that are on them, and the average after them."""
        for group in self.optimizer.param_groups:
            group["lr"] = step_size
        self.optimizer.step()
        self.losses.append(loss)
        # while it is young the average forgets faster, or it would remember the first weights long
        age = len(self.losses)
        share = 1.0 - min(self.average_decay, (1 + age) / (10 + age))
        for name, average in self.average.items():
            average.lerp_(self.weights[name].detach(), share)

    def take_in_score(self, score: float) -> None:
        """Keep the weights, or their average, if no score was better."""
        if score > max(self.scores, default=float("-inf")):
            self.best = _copies(self.average or self.weights)
        self.scores.append(score)

    def num_worse(self) -> int:
        """Return how many scores in a row were no better than the best one."""
        return len(self.scores) - 1 - self.scores.index(max(self.scores)) if self.scores else 0

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Make the weights their average for a while, where there is one."""
        weights = _copies(self.weights)
        self._load(self.average)
        try:
            yield
        finally:
            self._load(weights)

    def finish(self) -> None:
        """Make the weights what the run is for: the best, the average or the last."""
        self._load(self.best or self.average)

    def snapshot(self) -> Snapshot:
        """Return a copy of everything."""
        parts = {
            _WEIGHTS: self.weights,
            _AVERAGE: self.average,
            _BEST: self.best,
            _MOMENTS: self._moments(),
        }
        tensors = {
            f"{part}.{name}": tensor
            for part, named in parts.items()
            for name, tensor in named.items()
        }
        facts = {
            "step": self.step,
            "losses": list(self.losses),
            "skipped": list(self.skipped),
            "scores": list(self.scores),
        }
        return Snapshot(tensors=_copies(tensors), facts=facts)

    def restore(self, snapshot: Snapshot) -> None:
        """Become what ``snapshot`` was taken of."""
        parts: dict[str, dict[str, Tensor]] = {}
        for path, tensor in _copies(snapshot.tensors).items():
            part, _, name = path.partition(".")
            parts.setdefault(part, {})[name] = tensor
        self._load(parts[_WEIGHTS])
        self.average, self.best = parts.get(_AVERAGE, {}), parts.get(_BEST, {})
        # before the first step there are no moments
        self.optimizer.state.clear()
        for at, parameter in enumerate(self._parameters()):
            prefix = f"{at}."
            moments = {
                name.removeprefix(prefix): tensor
                for name, tensor in parts.get(_MOMENTS, {}).items()
                if name.startswith(prefix)
            }
            if moments:
                self.optimizer.state[parameter] = moments
        self.step = snapshot.step
        self.losses = list(snapshot.facts["losses"])
        self.skipped = list(snapshot.facts["skipped"])
        self.scores = list(snapshot.facts["scores"])

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _moments(self) -> dict[str, Tensor]:
        return {
            f"{at}.{name}": tensor
            for at, parameter in enumerate(self._parameters())
            for name, tensor in self.optimizer.state[parameter].items()
        }

    def _load(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, weight in weights.items():
                self.weights[name].copy_(weight)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
