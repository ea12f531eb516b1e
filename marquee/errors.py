"""What the command line reports as an error of the user's world, in one clear message."""

import sqlite3
import sys


class CommandError(Exception):
    """A command cannot do what it was asked; the message says what to do instead."""


class RunFailedError(CommandError):
    """A run of the orchestrator failed; what was published stays."""


def expected() -> tuple[type[Exception], ...]:
    """Return what an error of the user's world may be.

    It is asked for once something was raised: the packages take half a second to import.
    """
    from assets.errors import PlatformError
    from embedding_store.errors import StoreError
    from feature_repo.errors import FeatureRepoError
    from lake.errors import LakeError
    from training.errors import TrainingError

    servers = [
        getattr(sys.modules[module], name)
        for module, name in (
            ("redis.exceptions", "RedisError"),
            ("psycopg", "Error"),
            ("sqlalchemy.exc", "SQLAlchemyError"),
        )
        if module in sys.modules  # else nobody can have raised it
    ]
    return (
        *servers,
        CommandError,
        PlatformError,
        StoreError,
        FeatureRepoError,
        LakeError,
        TrainingError,
        OSError,
        sqlite3.DatabaseError,
    )
