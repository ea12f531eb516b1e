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


def at_least_one(text: str) -> int:
    """Return a whole number from one on."""
    if (count := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"want at least 1, got {count}")
    return count


@contextmanager
def refusing(parser: argparse.ArgumentParser) -> Iterator[None]:
    """End the command with one line where it was given what does not fit, without a traceback."""
    try:
        yield
    except (TrainingError, WorkspaceError, OSError) as error:
        parser.error(str(error))
