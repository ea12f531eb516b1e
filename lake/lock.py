"""Exclusive use of one place by one process, by a lock that the kernel drops with its holder."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from lake.errors import WorkspaceBusyError

logger = logging.getLogger(__name__)


@contextmanager
def exclusive_lock(path: Path, *, what: str, is_waiting: bool = False) -> Iterator[None]:
    """Hold ``path`` as a lock, also against other threads and calls of this process.

    ``flock`` outlives no process: after a ``kill -9`` the next one just takes it, and whoever waits
    waits for a process that lives. The file stays, since removing it would let two in at once.

    Args:
        path: file of the lock, made when missing.
        what: what is held, for the message.
        is_waiting: when it is taken, log its holder and wait; otherwise raise WorkspaceBusyError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if not is_waiting:
                raise WorkspaceBusyError(
                    f"{what} is in use by process {_holder(file)}: wait until it ends, or stop it, "
                    "and run the same command again"
                ) from error
            logger.warning("%s is in use by process %s: waiting for it", what, _holder(file))
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _holder(file: TextIOWrapper) -> str:
    file.seek(0)
    return file.read().strip() or "unknown"
