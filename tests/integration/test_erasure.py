"""Users erased from a world that was served: of the whole workspace, by the command."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from assets.workspace import Workspace
from embedding_store.client import EmbeddingClient
from feature_repo.lookup import open_features
from tests.integration.conftest import Run, Survived
from tests.residue import residue
from training.events.artifacts import read_events

NAME = "erased"


@pytest.fixture(scope="module")
def world(survived: Survived, home: Path) -> Workspace:
    """A copy: other tests look at the world as it was."""
    shutil.copytree(survived.workspace.root, home / NAME)
    return Workspace.open(home / NAME)


def known_users(workspace: Workspace) -> list[str]:
    folders = workspace.paths(workspace.lake.refs("raw_events"))
    tables = [read_events(folder, ["user_id"])[1] for folder in folders]
    return sorted({user for one in tables for user in one["user_id"].to_pylist() if user})


def newest_certificate(workspace: Workspace) -> dict[str, Any]:
    *_, newest = sorted((workspace.root / "lake" / "erasures" / "certificates").glob("*.json"))
    certificate: dict[str, Any] = json.loads(newest.read_text())
    return certificate


def references(workspace: Workspace) -> dict[str, bytes]:
    refs = workspace.root / "lake" / "refs"
    return {str(path.relative_to(refs)): path.read_bytes() for path in refs.rglob("*.json")}


def test_a_hundred_users_are_erased_and_stay_so(
    world: Workspace, marquee: Run, tmp_path: Path
) -> None:
    gone = known_users(world)[::2][:100]
    assert len(gone) == 100
    assert {"lake", "store", "feast"} <= {name.split("/")[0] for name in residue(world.root, gone)}
    served = open_features(world.feast_dir)
    assert served.users(gone).is_found.any()
    reader = EmbeddingClient(world.store.root).pin()
    named = tmp_path / "users.txt"
    named.write_text("\n".join([*gone, "nobody-we-know"]))

    erased = marquee("erase", "--from", str(named), "--yes", "--workspace", NAME)

    assert erased.returncode == 0, erased.stderr
    assert "erased 101 users" in erased.stdout
    assert "1 user had no row here" in erased.stdout
    assert "3 published versions" in erased.stdout
    assert "weights" in erased.stdout
    assert not any(user in erased.stdout + erased.stderr for user in gone)
    assert residue(world.root, gone) == {}
    for answered in (served.users(gone), reader.users(gone), reader.refresh().users(gone)):
        assert not answered.is_found.any()
        assert (answered.vectors == reader.default_user).all()
    others = [one for one in known_users(world) if one not in gone]
    assert served.users(others).is_found.any()
    certificate = newest_certificate(world)
    assert len(certificate["published"]) == 1
    assert len(certificate["published"][0]["versions"]) == 3

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
    assert [entry.kind for entry in world.store.log.entries()].count("versions_erased") == 1
    assert residue(world.root, gone) == {}

    # a rollback serves what was rewritten
    back = marquee("rollback", "--workspace", NAME)
    assert back.returncode == 0, back.stderr
    assert not open_features(world.feast_dir).users(gone).is_found.any()
    assert residue(world.root, gone) == {}

    # the source delivers them once more
    for path in (world.root / "lake").rglob(f"raw_events/{last}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    redelivered = marquee("run", last, "--job", "ingestion", "--workspace", NAME)
    assert redelivered.returncode == 0, redelivered.stderr
    raw = world.lake.require("raw_events", last)
    assert raw.digest == json.loads(before[f"raw_events/{last}.json"])["digest"]
    assert raw.figures["erased"] > 0
    assert residue(world.root, gone) == {}

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
