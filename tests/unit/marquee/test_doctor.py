import json
import re
import shutil

import pytest

from assets.workspace import Workspace
from lake.lake import Step, Written
from tests.unit.marquee.conftest import Marquee


def make_artifact(workspace: Workspace, asset: str, partition: str = "2024-03-01") -> None:
    step = Step(asset=asset, partition=partition, schema_id="x/1", as_of="2024-03-02", code="c")

    def write(folder):
        (folder / "content").write_text(asset)
        return Written(1)

    workspace.lake.build(step, write)


def test_a_consistent_workspace_has_no_finding(workspace: Workspace, marquee: Marquee) -> None:
    make_artifact(workspace, "valid_events")
    answer = marquee("doctor")
    assert answer.status == 0, answer.out
    assert len(re.findall("good (the|what) ", answer.out)) == 5
    assert "bad" not in answer.out
    assert "1 artifacts have the digest" in answer.out
    assert "embeddings_f1_stable answers with v2" in answer.out


def test_every_finding_is_listed_with_a_remedy(workspace: Workspace, marquee: Marquee) -> None:
    for asset in ("raw_events", "valid_events", "catalogue", "vocabulary", "interaction_tokens"):
        make_artifact(workspace, asset)
    lake = workspace.lake
    (lake.path(lake.require("raw_events", "2024-03-01")) / "content").write_text("other")
    shutil.rmtree(lake.path(lake.require("valid_events", "2024-03-01")))
    references = lake.root / "refs"
    (references / "catalogue" / "2024-03-01.json").write_text("{")
    fields = json.loads((references / "vocabulary" / "2024-03-01.json").read_text())
    (references / "vocabulary" / "2024-03-01.json").write_text(json.dumps({**fields, "uri_": 1}))
    state = workspace.store.state()
    shutil.rmtree(workspace.store.version_folder(state.version(1).digest))
    (workspace.store.root / "gates" / f"{state.version(2).digest}.json").write_text("{")

    answer = marquee("doctor")

    assert answer.status == 1
    assert "the artifacts: 4 findings" in answer.out
    for asset in ("raw_events", "valid_events", "catalogue", "vocabulary"):
        assert re.search(rf"{asset}[^`]*`marquee run 2024-03-01 --job ingestion", answer.out)
    assert "the log and the versions: 2 findings" in answer.out
    assert "run `marquee retire 1`" in answer.out
    assert "good what Feast serves" in answer.out


def test_a_damaged_stable_version_is_told_with_what_to_run(
    workspace: Workspace, marquee: Marquee
) -> None:
    shutil.rmtree(workspace.store.version_folder(workspace.store.state().version(2).digest))
    answer = marquee("doctor")
    assert answer.status == 1
    assert answer.out.count("or run `marquee rollback`") == 2
    assert marquee("rollback").status == 0
    assert "or run `marquee retire 2`" in marquee("doctor").out


def test_a_lost_registry_is_told_with_what_to_run(workspace: Workspace, marquee: Marquee) -> None:
    (workspace.feast_dir / "registry.db").unlink()
    assert "run `marquee reconcile`" in marquee("doctor").out


@pytest.mark.parametrize("name", ["[x]", "[bold]"])
def test_a_name_that_looks_like_markup_is_printed_as_it_is(
    workspace: Workspace, marquee: Marquee, name: str
) -> None:
    missing = marquee("doctor", name=name)
    assert missing.status == 1
    assert f"/{name}: `make demo` makes one" in missing.out
    shutil.copytree(workspace.root, workspace.root.with_name(name), dirs_exist_ok=True)
    there = marquee("doctor", name=name)
    assert there.status == 0
    assert f"/{name}, source simulated" in there.out


def test_a_workspace_that_cannot_be_opened_is_one_finding(
    workspace: Workspace, marquee: Marquee
) -> None:
    (workspace.root / "workspace.json").write_text("{")
    answer = marquee("doctor")
    assert answer.status == 1
    assert "the workspace: 1 finding - " in answer.out
    assert answer.out.count("restore it from a copy") == 1


def test_an_erasure_that_was_killed_is_told_with_what_to_run(
    workspace: Workspace, marquee: Marquee, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "erased users: there are none" in marquee("doctor").out
    workspace.lake.tombstones().add(["ann"])
    assert "erased users: 1 have a tombstone" in marquee("doctor").out

    workspace.lake.storage.objects.put("erasures/requested/x.json", b"{}")
    assert re.search("not finished: run `marquee erase --workspace [^`]*`", marquee("doctor").out)
    monkeypatch.setenv("MARQUEE_ERASURE_KEY", "another")
    assert "set it to what it was when users were erased" in marquee("doctor").out
