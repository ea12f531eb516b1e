"""What the command line reports as an error of the user's world, in one clear message."""

import sqlite3

from assets.errors import PlatformError
from embedding_store.errors import StoreError
from feature_repo.errors import FeatureRepoError
from lake.errors import LakeError
from training.errors import TrainingError


class CommandError(Exception):
    """A command cannot do what it was asked; the message says what to do instead."""


class RunFailedError(CommandError):
    """A run of the orchestrator failed; what was published stays."""


EXPECTED = (
    CommandError,
    PlatformError,
    StoreError,
    FeatureRepoError,
    LakeError,
    TrainingError,
    OSError,
    sqlite3.DatabaseError,
)
