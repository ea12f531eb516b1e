"""What a training run is, whole: every number that changes its result is here."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from training.config.loss import LossConfig
from training.config.model import HeadsConfig, ModelConfig
from training.config.optim import GuardConfig, OptimConfig, StoppingConfig
from training.config.rules import require, require_kinds
from training.config.targets import TargetConfig, UtilityConfig
from training.errors import ConfigError

WindowChoice = Literal["newest", "slide", "mixed"]
NewItems = Literal["mean", "random", "metadata", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayConfig:
    """What a fine-tuning run repeats of older days, so that it forgets nothing."""

    older_share: float = 0.5
    """Older targets per target of the new day."""

    def __post_init__(self) -> None:
        """Refuse a negative share."""
        require_kinds(self)
        require(holds=self.older_share >= 0, rule=f"want >= 0: {self.older_share=}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """One run: model, optimiser, length, seed."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """Shape; a fine-tuning run takes its base's shape and refuses another."""

    targets: TargetConfig = field(default_factory=TargetConfig)
    """What is learned."""

    loss: LossConfig = field(default_factory=LossConfig)
    """What a target is compared with."""

    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimiser of pretraining."""

    fine_tune_optim: OptimConfig = field(default_factory=lambda: OptimConfig(learning_rate=1e-3))
    """Optimiser of one day's fine-tuning."""

    replay: ReplayConfig = field(default_factory=ReplayConfig)
    """Older targets in one day's fine-tuning."""

    guard: GuardConfig = field(default_factory=GuardConfig)
    """What becomes of a step that fails."""

    stopping: StoppingConfig = field(default_factory=StoppingConfig)
    """When pretraining has learned enough."""

    held_out_one_in: int = 8
    """One user in this many teaches a day's model nothing of that day: the quality gate asks them.
    The fewer users a day has, the more of them it takes for an interval that tells something."""

    num_epochs: int = 8
    """Passes over the targets in pretraining."""

    windows: WindowChoice = "newest"
    """Which ``max_seq_len`` positions of a longer history a pass of pretraining reads: the newest;
    another part in every pass, until all was read; or by a coin either. A day's fine-tuning reads
    the newest, where its targets are."""

    fine_tune_epochs: int = 2
    """Passes over the day's targets in fine-tuning."""

    new_items: NewItems = "mean"
    """Where the weight rows of a day's new items start: at the mean of the old ones, at random as
    in pretraining, between those of the items that are described most alike, or at the one that
    hidden and unknown items are read by, which pretraining has taught to lean on metadata."""

    batch_tokens: int = 4096
    """Positions of one step, at most."""

    accumulate: int = 1
    """Pieces that a step is computed in, one after another: less memory, the same gradient."""

    chunk_targets: int = 256
    """Targets whose logits exist at one time, on each thread: bounds memory, changes nothing else.
    256 is fastest with 3,416 and with 7,583 items: it stays in cache."""

    seed: int = 1
    """Seed of every random draw of the run."""

    num_threads: int = 1
    """Threads that a step is shared out to; the same weights are promised only for the same
    number."""

    def __post_init__(self) -> None:
        """Refuse runs without steps, rows or weight."""
        require_kinds(self)
        for name in (
            "num_epochs",
            "fine_tune_epochs",
            "accumulate",
            "chunk_targets",
            "num_threads",
        ):
            value = getattr(self, name)
            require(holds=value >= 1, rule=f"{name}: want at least 1, got {value}")
        require(
            holds=2 <= self.held_out_one_in <= 2**20 and self.held_out_one_in.bit_count() == 1,
            rule=f"want a power of two from 2 to 2^20: {self.held_out_one_in=}",
        )
        require(holds=0 <= self.seed < 2**63, rule=f"want 0 to 2^63 - 1: {self.seed=}")
        for name, known in (("windows", WindowChoice), ("new_items", NewItems)):
            value, choices = getattr(self, name), get_args(known)
            require(holds=value in choices, rule=f"{name}: want one of {choices}, got {value!r}")
        require(
            holds=self.new_items != "metadata" or self.model.item_metadata,
            rule=f"without metadata nothing is alike: {self.new_items=}",
        )
        require(
            holds=self.stopping.one_in == 0 or self.stopping.every_epochs <= self.num_epochs,
            rule=f"users are asked after no pass: {self.stopping=} {self.num_epochs=}",
        )
        require(
            holds=self.batch_tokens >= self.model.max_seq_len,
            rule=f"a step holds no window: {self.batch_tokens=} {self.model.max_seq_len=}",
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "RunConfig":
        """Read what ``to_json`` returned; raises ConfigError, naming what it does not know."""
        parts: dict[str, Callable[..., Any]] = {
            "model": _model_of,
            "targets": _targets_of,
            "loss": LossConfig,
            "optim": OptimConfig,
            "fine_tune_optim": OptimConfig,
            "replay": ReplayConfig,
            "guard": GuardConfig,
            "stopping": StoppingConfig,
        }
        try:
            # a part that an older release did not know has the values that it implied
            nested = {name: part(**value[name]) for name, part in parts.items() if name in value}
            return cls(**{**value, **nested})
        except (TypeError, KeyError, AttributeError) as error:
            text = json.dumps(value, sort_keys=True)
            raise ConfigError(f"run config: {error} in {text}") from error


def _model_of(*, heads: dict[str, Any] | None = None, **fields: Any) -> ModelConfig:
    return ModelConfig(heads=HeadsConfig(**heads or {}), **fields)


def _targets_of(*, utility: dict[str, Any] | None = None, **fields: Any) -> TargetConfig:
    return TargetConfig(utility=UtilityConfig(**utility or {}), **fields)
