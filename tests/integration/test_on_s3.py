"""A day's lifecycle with lake and store in a bucket, on two machines."""

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

from assets.workspace import Workspace
from embedding_store import EmbeddingClient
from tests.integration.conftest import marquee_command, tiny_world
from tests.integration.crashes import TIMEOUT_S, start
from tests.s3_server import SECRET

DAY = date(2026, 2, 1)


def replay(home: Path, url: str) -> tuple[Workspace, str]:
    config = replace(tiny_world(), last_day=DAY, storage=url)
    workspace = Workspace.create(home / "tiny", config)
    process = start(workspace.root)
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, output
    return workspace, output


def files_with(text: str, folder: Path) -> list[Path]:
    """Return the files that hold a text: records, databases and logs alike."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if text.encode() in path.read_bytes()]


def test_a_day_is_made_in_a_bucket_and_found_there_by_another_machine(
    tmp_path: Path, s3_url: str
) -> None:
    here, _ = replay(tmp_path / "here", s3_url)
    stored = EmbeddingClient(here.store.root).pin()
    assert not (here.root / "lake" / "artifacts").exists()
    assert not (here.root / "store" / "versions").exists()
    assert not (here.root / "store" / "log").exists()

    assert files_with(SECRET, here.root) == []

    there, output = replay(tmp_path / "there", s3_url)

    assert " rows " not in output, "a machine without anything makes nothing again"
    assert there.store.state() == here.store.state()
    ids, vectors = EmbeddingClient(there.store.root).pin().all_items()
    assert ids.equals(stored.all_items()[0])
    np.testing.assert_array_equal(vectors, stored.all_items()[1])

    for folder in ("lake", "store"):
        shutil.rmtree(here.root / folder / "cache")  # costs downloads, no data
    done = marquee_command(tmp_path / "here")("doctor", "--workspace", "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
