"""What a model learns to predict, and what a target counts."""

from dataclasses import dataclass, field

from training.config.rules import require, require_kinds

ALWAYS = 1e9
"""A time without end, in any unit: every target counts alike, however old or far ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UtilityConfig:
    """What a target is worth by what the user did with it; the mean over all targets is one.

    The two factors multiply.
    """

    actions: tuple[tuple[str, float], ...] = ()
    """Actions and their factors: a token has the largest of those that it holds, or 1. Pairs, since
    a tracker takes no name that a log may give."""

    log_minutes: float = 0.0
    """A token of so many minutes counts 1 + this * log(1 + minutes)."""

    def __post_init__(self) -> None:
        """Refuse to reward a model for being wrong."""
        require_kinds(self)
        require(
            holds=all(isinstance(one, (list, tuple)) and len(one) == 2 for one in self.actions),
            rule=f"actions: want pairs of an action and its factor, got {self.actions!r}",
        )
        pairs = tuple((name, factor) for name, factor in self.actions)
        object.__setattr__(self, "actions", pairs)  # JSON has lists
        below = [pair for pair in pairs if pair[1] < 0]
        require(holds=not below, rule=f"actions: want factors of at least 0, got {below}")
        require(holds=len(dict(pairs)) == len(pairs), rule=f"actions: one repeats in {pairs}")
        require(holds=self.log_minutes >= 0, rule=f"want at least 0: {self.log_minutes=}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetConfig:
    """What a position is asked for, and how much each target counts."""

    num_targets: int = 4
    """Targets of one position (K): its own token and the next ones; they share its logits."""

    decay: float = 0.5
    """Weight of each further target, as a share of the one before."""

    window_hours: float = 36.0
    """Targets that begin later than this after the position's token are not asked for there."""

    window_tokens: int = 8
    """The same in tokens, where only the order is known."""

    ahead_half_life_hours: float = ALWAYS
    """How far ahead a target of a position counts half, beside ``decay`` (multi-token prediction
    with weights by time, arXiv:2605.23312); of tokens of which only the order is known, nothing."""

    half_life_days: float = 14.0
    """Age at which a target counts half: the next day resembles the last days most."""

    prefix_weight: float = 0.25
    """Weight of a target of which only the order is known."""

    utility: UtilityConfig = field(default_factory=UtilityConfig)
    """What a target is worth beside its age; all alike by default."""

    def __post_init__(self) -> None:
        """Refuse numbers that leave no target."""
        require_kinds(self)
        require(holds=self.num_targets >= 1, rule=f"want at least 1: {self.num_targets=}")
        require(holds=0 < self.decay <= 1, rule=f"want in (0, 1]: {self.decay=}")
        require(holds=self.window_hours > 0, rule=f"want > 0: {self.window_hours=}")
        require(holds=self.window_tokens >= 1, rule=f"want at least 1: {self.window_tokens=}")
        require(
            holds=self.ahead_half_life_hours > 0, rule=f"want > 0: {self.ahead_half_life_hours=}"
        )
        require(holds=self.half_life_days > 0, rule=f"want > 0: {self.half_life_days=}")
        require(holds=self.prefix_weight >= 0, rule=f"want >= 0: {self.prefix_weight=}")
