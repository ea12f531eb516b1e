"""The pages for consumers: all Python of each runs, as one program, on a copy of the tiny world."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assets.workspace import Workspace
from embedding_store import EmbeddingClient, EmbeddingStore
from lake.storage import locate
from tests.docs.commands import ROOT
from tests.integration.conftest import Survived

FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = {
    page: FENCE.findall((ROOT / "docs" / f"{page}.md").read_text())
    for page in ("embeddings", "consumers")
}
DISK, BUCKET = ".marquee/simulated", "s3://<bucket>/<prefix>"


def run(blocks: list[str], workspace: Workspace, **places: str) -> None:
    """Run the blocks with the places and ids that the reader puts in; the first user is known."""
    version = EmbeddingClient(workspace.root / "store").pin()
    items = version.all_items()[0]
    user = next(version.tables("user"))["user_id"][0]
    script = "\n".join(blocks)
    for shown, meant in {
        **places,
        "u002011": str(user),
        "t00367": str(items[0]),
        "t00772": str(items[1]),
    }.items():
        script = script.replace(shown, meant)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(workspace.root / "cache")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def workspace(survived: Survived, tmp_path: Path) -> Workspace:
    copy = tmp_path / "simulated"
    shutil.copytree(survived.workspace.root, copy)
    return Workspace.open(copy)


@pytest.mark.parametrize("page", BLOCKS)
def test_the_code_runs(workspace: Workspace, page: str) -> None:
    blocks = [block for block in BLOCKS[page] if BUCKET not in block]
    assert blocks
    run(blocks, workspace, **{DISK: str(workspace.root)})


def test_the_code_for_a_bucket_runs(workspace: Workspace, s3_url: str) -> None:
    here = workspace.store
    locate(workspace.root / "uploaded", f"{s3_url}/store")
    there = EmbeddingStore(workspace.root / "uploaded")
    for version in here.state().versions.values():
        with there.staged_version() as staged:
            shutil.copytree(here.version_folder(version.digest), staged, dirs_exist_ok=True)
            there.commit_version(staged, version.digest)
    for key in here.objects.list("log"):
        there.objects.put(key, here.objects.get(key))
    (block,) = [block for block in BLOCKS["consumers"] if BUCKET in block]
    run([block], workspace, **{BUCKET: s3_url})
