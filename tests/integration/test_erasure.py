"""Users erased from a world that was served: of the whole workspace, by the command."""

import json
import shutil
from pathlib import Path

import pytest

from assets.workspace import Workspace
from lake.user_rows import users_of
from tests.integration.conftest import Run, Survived
from tests.residue import residue
from training.events.artifacts import read_events

NAME = "erased"
LATER = ("store", "feast")
"""Published versions and their online rows, which another erasure rewrites."""


@pytest.fixture(scope="module")
def world(survived: Survived, home: Path) -> Workspace:
    """A copy: other tests look at the world as it was."""
    shutil.copytree(survived.workspace.root, home / NAME)
    return Workspace.open(home / NAME)


def known_users(workspace: Workspace) -> list[str]:
    folders = workspace.paths(workspace.lake.refs("raw_events"))
    tables = [read_events(folder, ["user_id"])[1] for folder in folders]
    return sorted({user for one in tables for user in one["user_id"].to_pylist() if user})


def references(workspace: Workspace) -> dict[str, bytes]:
    refs = workspace.root / "lake" / "refs"
    return {str(path.relative_to(refs)): path.read_bytes() for path in refs.rglob("*.json")}


def test_a_hundred_users_are_erased_and_stay_so(
    world: Workspace, marquee: Run, tmp_path: Path
) -> None:
    gone = known_users(world)[::2][:100]
    assert len(gone) == 100
    assert residue(world.root, gone, but=LATER)
    named = tmp_path / "users.txt"
    named.write_text("\n".join([*gone, "nobody-we-know"]))

    erased = marquee("erase", "--from", str(named), "--yes", "--workspace", NAME)

    assert erased.returncode == 0, erased.stderr
    assert "erased 101 users" in erased.stdout
    assert "1 user had no row here" in erased.stdout
    assert "versions (v1, v2, v3)" in erased.stdout
    assert "weights" in erased.stdout
    assert not any(user in erased.stdout + erased.stderr for user in gone)
    assert residue(world.root, gone, but=LATER) == {}
    assert any(users_of(world.root / "store" / "versions") & set(gone) for _ in "1")

    # nothing fails, and nothing is made again
    last = world.config.last_day.isoformat()
    before = references(world)
    assert marquee("doctor", "--workspace", NAME).returncode == 0
    for job in ("daily_refresh", "downstream_team"):
        again = marquee("run", last, "--job", job, "--workspace", NAME)
        assert again.returncode == 0, again.stderr
    taken_in = marquee(
        "run", "2026-01-30", "--through", last, "--job", "ingestion", "--workspace", NAME
    )
    assert taken_in.returncode == 0, taken_in.stderr
    assert references(world) == before
    assert residue(world.root, gone, but=LATER) == {}

    # the source delivers them once more
    for path in (world.root / "lake").rglob(f"raw_events/{last}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    redelivered = marquee("run", last, "--job", "ingestion", "--workspace", NAME)
    assert redelivered.returncode == 0, redelivered.stderr
    raw = world.lake.require("raw_events", last)
    assert raw.digest == json.loads(before[f"raw_events/{last}.json"])["digest"]
    assert raw.figures["erased"] > 0
    assert residue(world.root, gone, but=LATER) == {}

    second = marquee("erase", "--from", str(named), "--yes", "--workspace", NAME)
    assert "nothing was left to erase" in second.stdout, second.stderr


def test_a_user_is_erased_only_on_purpose(world: Workspace, marquee: Run) -> None:
    before = references(world)
    unasked = marquee("erase", "somebody", "--workspace", NAME)
    piped = marquee("erase", "--from", "-", "--workspace", NAME)
    empty = marquee("erase", "", "--yes", "--workspace", NAME)
    for refused in (unasked, piped, empty):
        assert refused.returncode != 0
        assert "somebody" not in refused.stdout + refused.stderr
    assert references(world) == before
