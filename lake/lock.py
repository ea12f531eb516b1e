"""One writer at a time per workspace, by a lock that the kernel drops with its process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lake.errors import WorkspaceBusyError


@contextmanager
def exclusive_lock(path: Path, *, what: str) -> Iterator[None]:
    """Hold ``path`` as a lock; raises WorkspaceBusyError, naming the holder, when it is taken.

    ``flock`` outlives no process: after a ``kill -9`` the next writer just takes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise WorkspaceBusyError(
                f"{what} is in use by process {holder}: wait until it ends, or stop it, and run "
                "the same command again"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
