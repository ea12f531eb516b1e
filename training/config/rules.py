"""Rules that the values of a config keep."""

from training.errors import ConfigError


def require(*, holds: bool, rule: str) -> None:
    """Raise ConfigError, saying the rule, unless it holds."""
    if not holds:
        raise ConfigError(rule)


def require_share(name: str, value: float) -> None:
    """Raise ConfigError unless the value is in [0, 1)."""
    require(holds=0.0 <= value < 1.0, rule=f"{name}: want a share in [0, 1), got {value}")
