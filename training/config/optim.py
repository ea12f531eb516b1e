"""How weights are fitted, and what becomes of a run that fails or has learned enough."""

from dataclasses import dataclass
from typing import Literal

from training.config.rules import require, require_kinds, require_share

_MOST = 2**20
"""Users of whom one is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    """How weights are fitted: AdamW, linear warm-up, decay."""

    learning_rate: float = 2e-3
    """Step size after the warm-up."""

    schedule: Literal["cosine", "constant", "inverse_sqrt"] = "cosine"
    """What follows the warm-up: half a cosine down to ``final_share``, the same step size to the
    end, or one that falls with the root of the steps since (Vaswani et al. 2017, sec. 5.3)."""

    final_share: float = 0.02
    """Step size at the end of a cosine, as a share of ``learning_rate``."""

    warmup_share: float = 0.08
    """Share of the steps in which the step size grows from zero."""

    weight_decay: float = 0.02
    """Decoupled decay of matrices; biases, norms and single rows do not decay."""

    clip_norm: float = 1.0
    """Largest norm of all gradients together."""

    average_decay: float = 0.0
    """What of the average of the weights is kept at each step; 0 = the last weights are the model,
    otherwise their exponential moving average is (Polyak & Juditsky 1992)."""

    def __post_init__(self) -> None:
        """Refuse step sizes and shares out of range."""
        require_kinds(self)
        known = ("cosine", "constant", "inverse_sqrt")
        require(
            holds=self.schedule in known,
            rule=f"schedule: want one of {known}, got {self.schedule!r}",
        )
        require_share("average_decay", self.average_decay)
        require(holds=self.learning_rate > 0, rule=f"want > 0: {self.learning_rate=}")
        require(holds=self.weight_decay >= 0, rule=f"want >= 0: {self.weight_decay=}")
        require(holds=self.clip_norm > 0, rule=f"want > 0: {self.clip_norm=}")
        require_share("final_share", self.final_share)
        require_share("warmup_share", self.warmup_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    """When a step has failed, and what is done about it."""

    spike_factor: float = 3.0
    """A loss of more than this many times the median of the last ones is a failed step, as one that
    is not finite always is."""

    snapshot_steps: int = 200
    """Steps between two states that a failed step goes back to; a checkpoint is one of them."""

    max_skipped: int = 5
    """Steps that may be skipped for having failed; at one more the run is given up."""

    def __post_init__(self) -> None:
        """Refuse a guard that nothing passes."""
        require_kinds(self)
        require(holds=self.spike_factor > 1, rule=f"want > 1: {self.spike_factor=}")
        require(holds=self.snapshot_steps >= 1, rule=f"want at least 1: {self.snapshot_steps=}")
        require(holds=self.max_skipped >= 0, rule=f"want at least 0: {self.max_skipped=}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingConfig:
    """When pretraining ends before its last pass, and which weights it keeps."""

    one_in: int = 0
    """One user in this many is asked for the newest target of its history, which nobody learns;
    0 = nobody is asked, and a run goes through all its passes."""

    every_epochs: int = 1
    """Passes between two times of asking."""

    patience: int = 3
    """Times in a row without a better answer that end the run; the best weights are kept."""

    def __post_init__(self) -> None:
        """Refuse what would ask for everything or never end."""
        require_kinds(self)
        require(
            holds=self.one_in == 0 or (self.one_in >= 2 and self.one_in.bit_count() == 1),
            rule=f"want 0 or a power of two of at least 2: {self.one_in=}",
        )
        require(holds=self.one_in <= _MOST, rule=f"want at most {_MOST}: {self.one_in=}")
        require(holds=self.every_epochs >= 1, rule=f"want at least 1: {self.every_epochs=}")
        require(holds=self.patience >= 1, rule=f"want at least 1: {self.patience=}")
