"""What the commands of this folder are given, and how they refuse it."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from assets.errors import WorkspaceError
from training.errors import TrainingError


def names(text: str) -> list[str]:
    """Return names between commas."""
    return text.split(",")


def seeds(text: str) -> list[int]:
    """Return whole numbers between commas."""
    return [int(one) for one in text.split(",")]


@contextmanager
def refusing(parser: argparse.ArgumentParser) -> Iterator[None]:
    """End the command with the one line that an error of ours is, without a traceback."""
    try:
        yield
    except (TrainingError, WorkspaceError) as error:
        parser.error(str(error))
