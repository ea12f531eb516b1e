"""Killing a replay at chosen moments, while a consumer reads all along."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from embedding_store import EmbeddingClient, NoVersionError

TIMEOUT_S = 200


def is_pretraining(root: Path) -> bool:
    log = root / "logs" / "pretrained_model-2026-01-01.log"
    return log.exists() and log.stat().st_size > 0


def is_inferring(root: Path) -> bool:
    refs = root / "lake" / "refs"
    return (refs / "model_evaluation" / "2026-02-01.json").exists() and not (
        refs / "stabilised_embeddings" / "2026-02-01.json"
    ).exists()


def is_publishing(root: Path) -> bool:
    kinds = [
        json.loads(path.read_bytes())["kind"]
        for path in sorted((root / "store" / "log").glob("*.json"))
    ]
    return "version_published" in kinds and "alias_set" not in kinds


def start(root: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.replay", str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that the trainer dies with it, as in a power cut
    )


def kill_when(root: Path, is_there: Callable[[Path], bool]) -> None:
    process = start(root)
    deadline = time.monotonic() + TIMEOUT_S
    try:
        while not is_there(root):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, "the moment to kill never came"
            time.sleep(0.002)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@contextmanager
def polling_reader(root: Path) -> Iterator[list[str]]:
    """Read as a consumer all along; yield what was seen; fail on anything half-made."""
    seen: list[str] = []
    faults: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                try:
                    version = EmbeddingClient(root / "store").pin()
                except NoVersionError:
                    seen.append("nothing")
                else:
                    ids, vectors = version.all_items()
                    assert len(ids) == len(vectors) > 0
                    assert np.isfinite(vectors).all()
                    seen.append(version.name)
                stop.wait(0.05)
        except BaseException as fault:  # noqa: BLE001 - reported by the test itself
            faults.append(fault)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield seen
    finally:
        stop.set()
        reader.join()
    assert not faults, faults
