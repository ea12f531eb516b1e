"""The whole lifecycle on a tiny world: what every joint must hold."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from assets.workspace import Workspace
from embedding_store import EmbeddingClient
from lake.digests import digest_file
from tests.integration.conftest import NAME, Run, Survived

DAYS = ["2026-02-01", "2026-02-02", "2026-02-03"]


def digests(workspace: Workspace) -> dict[str, str]:
    refs = workspace.lake.root / "refs"
    return {
        f"{ref.asset}/{ref.partition}": ref.digest
        for folder in sorted(refs.iterdir())
        for ref in workspace.lake.refs(folder.name)
    }


def test_every_day_becomes_a_version_that_was_stable(survived: Survived) -> None:
    workspace = survived.workspace
    state = workspace.store.state()
    assert [version.day for version in state.versions.values()] == DAYS
    assert [version.name for _, version in state.served(1)] == ["v1", "v2", "v3"]


def test_no_row_is_lost_on_any_day(survived: Survived) -> None:
    workspace = survived.workspace
    for raw in workspace.lake.refs("raw_events"):
        valid = workspace.lake.require("valid_events", raw.partition)
        quarantined = workspace.lake.require("quarantined_events", raw.partition)
        assert raw.rows == valid.rows + quarantined.rows + valid.figures["duplicates"]


def test_each_day_starts_from_the_model_that_yesterday_accepted(
    survived: Survived,
) -> None:
    workspace = survived.workspace
    models = workspace.store.state().models
    assert [(model.role, model.partition) for model in models] == [
        ("base", "2026-01-01"),
        *(("daily", day) for day in DAYS),
    ]
    for day, base in zip(DAYS, models, strict=False):
        folder = workspace.lake.path(workspace.lake.require("fine_tuned_model", day))
        lineage = json.loads((folder / "lineage.json").read_bytes())
        weights = workspace.lake.root / base.uri / "model.safetensors"
        assert lineage["base"] == digest_file(weights)


def test_the_registry_mirrors_the_log(survived: Survived) -> None:
    workspace = survived.workspace
    from assets.acceptance import REGISTERED_NAME
    from assets.tracking import champion

    with closing(sqlite3.connect(workspace.mlflow_dir / "mlflow.db")) as database:
        rows = database.execute(
            "select version, value from model_version_tags where key = 'marquee.digest'"
        ).fetchall()
    newest = workspace.store.state().models[-1].digest
    assert dict(rows)[champion(workspace.mlflow_dir, REGISTERED_NAME)] == newest


def test_the_orchestrator_recorded_every_partition(survived: Survived) -> None:
    workspace = survived.workspace
    script = (
        "import dagster as dg, json\n"
        "instance = dg.DagsterInstance.get()\n"
        "keys = instance.get_asset_keys()\n"
        "print(json.dumps({k.to_user_string(): sorted(instance.get_materialized_partitions(k))"
        " for k in keys}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={"DAGSTER_HOME": str(workspace.root / "dagster"), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    materialized = json.loads(done.stdout)
    for asset in ("fine_tuned_model", "stabilised_embeddings", "served_features"):
        assert materialized[asset] == DAYS
    assert len(materialized["interaction_tokens"]) == 5


def test_a_second_replay_skips_everything(survived: Survived) -> None:
    workspace = survived.workspace
    before, entries = digests(workspace), workspace.store.state().seq
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.replay", str(workspace.root)],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    assert digests(workspace) == before
    assert workspace.store.state().seq == entries
    assert " rows " not in done.stdout
    told = [line for line in done.stdout.splitlines() if line.endswith("there already")]
    assert len(told) == 2 + len(DAYS) + 1
    assert all("16 assets" in line for line in told[2:-1])


def test_a_consumer_gets_what_was_published(survived: Survived, marquee: Run) -> None:
    workspace = survived.workspace
    from feature_repo.lookup import open_features

    pinned = EmbeddingClient(workspace.root / "store").pin()
    features = open_features(workspace.feast_dir).pinned()
    ids, vectors = pinned.all_items()
    served = features.items(list(ids))
    assert served.version == "v3" == pinned.name
    np.testing.assert_array_equal(served.vectors, vectors)


def test_an_unknown_user_gets_the_default_and_a_non_zero_exit(
    survived: Survived, marquee: Run
) -> None:
    done = marquee("lookup", "nobody", "--workspace", NAME)
    assert done.returncode == 1
    assert "found = false" in done.stdout
    assert "no history in v3" in done.stderr


@pytest.mark.parametrize("command", [["status"], ["versions"], ["doctor"], ["reconcile"]])
def test_commands_answer(survived: Survived, marquee: Run, command: list[str]) -> None:
    done = marquee(*command, "--workspace", NAME)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_version_is_evaluated_on_days_that_its_model_never_saw(
    survived: Survived, marquee: Run
) -> None:
    of_v1 = ("--version", "v1", "--workspace", NAME)
    done = marquee("evaluate", *DAYS[1:], *of_v1)
    assert done.returncode == 0, done.stderr
    assert "v1 of 2026-02-01, on 2026-02-02 to 2026-02-03" in done.stdout
    assert "model - popularity" in done.stdout
    assert "on 2 days" in done.stdout

    for first, last in ((DAYS[0], DAYS[2]), (DAYS[2], DAYS[1])):
        refused = marquee("evaluate", first, last, *of_v1)
        assert refused.returncode == 1
        assert "want days after 2026-02-01" in refused.stderr


def test_rolling_back_serves_the_earlier_version_and_changes_no_byte(
    survived: Survived, marquee: Run
) -> None:
    workspace = survived.workspace
    before = {
        path.name: path.read_bytes()
        for path in (workspace.root / "store" / "versions").rglob("*.parquet")
    }
    done = marquee("rollback", "--workspace", NAME, "--why", "a drill")
    assert done.returncode == 0, done.stderr
    assert "v2" in done.stdout
    stable = workspace.store.state().stable(1)
    assert stable is not None
    assert stable.name == "v2"
    after = {
        path.name: path.read_bytes()
        for path in (workspace.root / "store" / "versions").rglob("*.parquet")
    }
    assert before == after


def test_a_published_day_is_made_again_where_something_changed(
    survived: Survived, marquee: Run
) -> None:
    workspace = survived.workspace
    same = marquee("republish", DAYS[-1], "--workspace", NAME)
    assert same.returncode == 0, same.stderr
    assert "comes out as it is published, in v3" in same.stdout

    path = workspace.root / "workspace.json"
    before = path.read_text()
    path.write_text(before.replace('"tiny"', '"tests.integration.recipes:longer"'))
    for told in ("is published again, as v4 beside v3; it is stable", "comes out as it is"):
        done = marquee("republish", DAYS[-1], "--workspace", NAME, "--why", "a longer training")
        assert done.returncode == 0, done.stderr
        assert told in done.stdout
    path.write_text(before)

    entries = workspace.store.log.entries()
    published = [entry for entry in entries if entry.kind == "version_published"]
    assert [entry.why for entry in published[3:]] == ["a longer training"]
