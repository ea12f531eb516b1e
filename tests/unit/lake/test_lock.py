import logging
import os
import threading
from pathlib import Path

import pytest

from lake.errors import WorkspaceBusyError
from lake.lock import exclusive_lock


def test_a_taken_lock_is_refused_by_naming_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "one.lock"
    with (
        exclusive_lock(path, what="the place"),
        pytest.raises(WorkspaceBusyError, match=f"the place is in use by process {os.getpid()}"),
        exclusive_lock(path, what="the place"),
    ):
        pass
    with exclusive_lock(path, what="the place"):
        pass


def test_who_waits_logs_the_holder_and_comes_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, seen, is_waiting = tmp_path / "one.lock", [], threading.Event()

    class Waiting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            is_waiting.set()

    def come_next() -> None:
        with exclusive_lock(path, what="the place", is_waiting=True):
            seen.append("next")

    caplog.set_level(logging.WARNING)
    handler = Waiting()
    logging.getLogger("lake.lock").addHandler(handler)
    thread = threading.Thread(target=come_next)
    try:
        with exclusive_lock(path, what="the place"):
            thread.start()
            assert is_waiting.wait(10)
            seen.append("first")
        thread.join(10)
    finally:
        logging.getLogger("lake.lock").removeHandler(handler)
    assert seen == ["first", "next"]
    assert f"the place is in use by process {os.getpid()}: waiting for it" in caplog.text
