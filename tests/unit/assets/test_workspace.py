import dataclasses
import json
from datetime import date
from pathlib import Path

import pytest

from assets.errors import WorkspaceError
from assets.workspace import Workspace, WorkspaceConfig

CONFIG = WorkspaceConfig(
    source="simulated",
    source_parameters={"num_users": 10},
    first_day=date(2026, 1, 1),
    last_day=date(2026, 1, 2),
    recipe="tiny",
)


def changed(**changes: object) -> str:
    return json.dumps({**CONFIG.to_json(), **changes})


def test_what_is_created_opens_equal(tmp_path: Path) -> None:
    Workspace.create(tmp_path, CONFIG)
    assert Workspace.open(tmp_path).config == CONFIG


def test_creating_the_same_world_twice_opens_it(tmp_path: Path) -> None:
    Workspace.create(tmp_path, CONFIG)
    assert Workspace.create(tmp_path, CONFIG).config == CONFIG


def test_another_world_is_refused_naming_what_differs(tmp_path: Path) -> None:
    Workspace.create(tmp_path, CONFIG)
    other = dataclasses.replace(CONFIG, recipe="demo")
    with pytest.raises(WorkspaceError, match="recipe is 'tiny', asked for 'demo'"):
        Workspace.create(tmp_path, other)


def test_a_missing_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="make demo"):
        Workspace.open(tmp_path / "nowhere")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "workspace.json").write_text(json.dumps({"format_version": 9}))
    with pytest.raises(WorkspaceError, match="got 9"):
        Workspace.open(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "want JSON, got"),
        ('{"format_version": 1, "sou', "want JSON, got"),
        ("[]", "want an object, got []"),
        ("7", "want an object, got 7"),
        ("{}", "want format 1, got None"),
        ('{"format_version": 1}', "'first_day' is missing"),
        (changed(first_day="soon"), "soon"),
        (changed(first_day=7), "fromisoformat: argument must be str"),
        (changed(frame="one"), "frame: want int, got 'one'"),
        (changed(frame=True), "frame: want int, got True"),
        (changed(dtype="int4"), "dtype: want one of float32, float16, int8, got 'int4'"),
        (changed(dtype=8), "dtype: want str, got 8"),
        (changed(source_parameters=7), "source_parameters: want Mapping, got 7"),
        (changed(more=7), "unexpected keyword argument 'more'"),
    ],
)
def test_a_damaged_file_is_named_with_what_helps(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "workspace.json"
    path.write_text(text)
    with pytest.raises(WorkspaceError, match="restore it from a copy") as caught:
        Workspace.open(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)


def test_a_damaged_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "workspace.json").write_text("{")
    with pytest.raises(WorkspaceError, match="want JSON"):
        Workspace.create(tmp_path, CONFIG)
    assert (tmp_path / "workspace.json").read_text() == "{"


def test_a_workspace_from_before_dtypes_stores_float32(tmp_path: Path) -> None:
    fields = json.loads(changed())
    del fields["dtype"]
    (tmp_path / "workspace.json").write_text(json.dumps(fields))
    assert Workspace.open(tmp_path).config == CONFIG
    assert CONFIG.dtype == "float32"
