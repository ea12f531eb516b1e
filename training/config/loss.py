"""What a target is compared with."""

from dataclasses import dataclass
from typing import Literal

from training.config.rules import require, require_kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """What a target is compared with."""

    kind: Literal["full", "sampled", "gbce"] = "full"
    """The whole catalogue, a softmax over a sample, or binary losses over a sample."""

    num_negatives: int = 512
    """Items drawn once for a thread's share of a step (N); only of a sample."""

    negatives: Literal["uniform", "popularity", "batch"] = "uniform"
    """What they are drawn from: all items alike, by their share of the targets, or the targets that
    the share itself asks for."""

    corrects_popularity: bool = False
    """Whether a negative counts by how rarely it is drawn (logQ); not of ``gbce``."""

    calibration: float = 0.75
    """Of ``gbce``: 0 trusts its likelihoods as they are, 1 corrects them for the sampling."""

    def __post_init__(self) -> None:
        """Refuse samples of nothing and unknown names."""
        require_kinds(self)
        for name, known in (
            ("kind", ("full", "sampled", "gbce")),
            ("negatives", ("uniform", "popularity", "batch")),
        ):
            value = getattr(self, name)
            require(holds=value in known, rule=f"{name}: want one of {known}, got {value!r}")
        require(holds=self.num_negatives >= 1, rule=f"want at least 1: {self.num_negatives=}")
        require(holds=0.0 <= self.calibration <= 1.0, rule=f"want in [0, 1]: {self.calibration=}")
        require(
            holds=not (self.kind == "gbce" and self.corrects_popularity),
            rule="gbce: want corrects_popularity False, it has a calibration of its own",
        )
