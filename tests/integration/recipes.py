"""A recipe of a user's own, named as ``tests.integration.recipes:longer``."""

from dataclasses import replace

from training.config.run import RunConfig
from training.recipes import tiny


def longer() -> RunConfig:
    """Return the tiny recipe with another pass over each day."""
    return replace(tiny(), fine_tune_epochs=2)
