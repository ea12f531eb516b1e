"""What another team installs: the wheel alone, in an environment with nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from embedding_store import EmbeddingClient
from tests.integration.conftest import ROOT
from tests.unit.embedding_store.small_world import SmallWorld

FIVE_LINES = """\
from embedding_store import EmbeddingClient
version = EmbeddingClient.at(place).pin("stable")
users = version.users(["user-1", "nobody"])
items = version.items(["item-1", "item-99"])
best = version.search_items(users, 3)
"""
SCRIPT = f"""\
import importlib.util, json, sys
place = sys.argv[1]
{FIVE_LINES}
print(json.dumps({{
    "version": str(version),
    "is_found": [users.is_found.tolist(), items.is_found.tolist()],
    "vectors": users.vectors.tolist(),
    "best": best.ids.tolist(),
    "platform": [one for one in sys.argv[2:] if importlib.util.find_spec(one)],
}}))
"""
PLATFORM = ("torch", "dagster", "feast", "mlflow", "airflow", "pandas", "polars", "sklearn")
OURS = ("training", "assets", "feature_repo", "marquee", "dags")
UNREACHABLE = ("Could not find a version that satisfies", "Temporary failure in name resolution")

Bare = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Bare:
    """Python of an environment that pip made from the wheel; no variable leads back here."""
    home = tmp_path_factory.mktemp("bare")
    python = str(home / "env" / "bin" / "python")
    command = [sys.executable, "-m", "venv", "--without-pip", str(home / "env")]
    subprocess.run(command, check=True, timeout=60)
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--no-compile", "-q"]
    done = subprocess.run(
        [*command, "--retries", "1", str(wheel)],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    if any(sign in done.stderr for sign in UNREACHABLE):
        pytest.skip(f"pip reaches no packages here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr

    def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [python, *arguments],
            cwd=home,
            env={"HOME": str(home), "PATH": "/usr/bin:/bin", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.mark.parametrize("storage", ["disk", "s3"])
def test_the_wheel_alone_reads_embeddings(
    bare: Bare, tmp_path: Path, storage: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("s3_url") if storage == "s3" else None
    world = SmallWorld(tmp_path, bucket=url)
    world.serve(0)
    reaching = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}

    done = bare("-c", SCRIPT, world.store.url, *PLATFORM, *OURS, **(reaching if url else {}))

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    here = EmbeddingClient(world.store.root).pin()
    users = here.users(["user-1", "nobody"])
    assert answer == {
        "version": str(here),
        "is_found": [[True, False], [True, False]],
        "vectors": users.vectors.tolist(),
        "best": here.search_items(users, 3).ids.tolist(),
        "platform": [],
    }


def test_the_wheel_holds_the_two_light_packages_and_nothing_else(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        "lake",
        "embedding_store",
    }
    assert {"lake/py.typed", "embedding_store/py.typed"} <= set(names)
