from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console

from assets.workspace import Workspace
from feature_repo.lookup import open_features
from lake.lake import Step, Written
from marquee.lookups import Shelf, user_vector
from marquee.summary import _data_line, _show_next_steps, typical_user
from marquee.titles import Library
from tests.unit.embedding_store.small_world import SmallWorld, day_name, drifted, instant
from tests.unit.marquee.conftest import Marquee
from training.tokens.partial import FORMAT_VERSION


def take_in(workspace: Workspace, day: str, users: list[str]) -> None:
    """Tokens of a day, as far as their users go."""

    def write(folder: Path) -> Written:
        rows = pa.record_batch({"user_id": users})
        rows = rows.replace_schema_metadata({"format_version": str(FORMAT_VERSION)})
        with pa.ipc.new_file(str(folder / "tokens-0.arrow"), rows.schema) as writer:
            writer.write_batch(rows)
        return Written(len(users))

    step = Step(asset="interaction_tokens", partition=day, schema_id="x/1", as_of=day, code="c")
    workspace.lake.build(step, write)


def shelf(workspace: Workspace) -> Shelf:
    features = open_features(workspace.feast_dir).pinned()
    return Shelf(Library(workspace), features, features.items([]))


def test_a_long_name_leaves_commands_whole_and_apart_from_their_purpose() -> None:
    name = "x" * 120
    console = Console(file=StringIO(), width=80)
    _show_next_steps(name, console)
    assert isinstance(console.file, StringIO)
    lines = console.file.getvalue().splitlines()[2:]
    assert len(lines) == 5
    commands = [line.split("  ")[1] for line in lines]
    assert f".venv/bin/marquee recommend USER --workspace {name}" in commands
    assert f"make ui WORKSPACE={name}" in commands


def test_the_user_shown_is_one_whom_the_served_version_knows(
    world: SmallWorld, workspace: Workspace, marquee: Marquee
) -> None:
    raw = world.raw
    one_more = np.concatenate([raw.users, raw.users[:1] * 0.5])
    joined = replace(raw, users=one_more, user_ids=[*raw.user_ids, "user-60"])
    later = drifted(joined, seed=9)
    third = world.publish(2, stabilised=world.stabilised(2, later), effective_at=instant(3, 1))
    assert marquee("promote", str(third.version.number)).status == 0
    for day, users in ((0, ["user-1"]), (1, ["user-7"]), (2, ["user-60"])):
        take_in(workspace, day_name(day), users)
    assert typical_user(shelf(workspace)) == "user-60"

    assert marquee("rollback").status == 0

    assert typical_user(shelf(workspace)) == "user-7"
    assert user_vector(shelf(workspace), "user-7").is_found.all()
    assert not user_vector(shelf(workspace), "user-60").is_found.any()


def test_late_events_add_up(workspace: Workspace) -> None:
    figures = {"late": 9, "late_taken": 5, "too_late": 1}
    step = Step(asset="raw_events", partition="2024-03-01", schema_id="x/1", as_of="a", code="c")

    def write(folder: Path) -> Written:
        (folder / "rows").write_bytes(b"x")
        return Written(20, figures)

    workspace.lake.build(step, write)
    said = _data_line(workspace)
    assert "of 9 that came after" in said
    assert "5 are taken in, 3 wait until it is final, 1 came too late" in said
