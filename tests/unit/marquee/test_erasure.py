import io
import sys
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from rich.console import Console

from assets.backfill import build_day
from assets.watermark import wall_clock
from assets.workspace import Workspace, WorkspaceConfig
from marquee.erasure import STANDARD_INPUT, erase_users, require_consent, users_named
from marquee.errors import CommandError
from marquee.runs import Orchestrator
from tests.residue import residue
from training.events.artifacts import read_events

DAY = "2026-01-01"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    config = WorkspaceConfig(
        source="simulated",
        source_parameters={"num_users": 200, "num_titles": 100, "first_day": DAY, "num_days": 1},
        first_day=date(2026, 1, 1),
        last_day=date(2026, 1, 1),
        recipe="tiny",
    )
    return Workspace.create(tmp_path / "world", config)


def test_users_come_from_the_command_line_and_from_a_file(tmp_path: Path) -> None:
    named = tmp_path / "users.txt"
    named.write_bytes("ann\r\n\nbob cat\nélise".encode())
    assert users_named(["dan", "ann"], named) == {"ann", "bob cat", "élise", "dan"}
    assert users_named([], None) == set()


def test_the_mark_that_editors_put_first_is_no_part_of_an_id(tmp_path: Path) -> None:
    named = tmp_path / "users.txt"
    named.write_bytes("\ufeffann\r\nbob\r\n".encode())
    assert users_named([], named) == {"ann", "bob"}


def test_users_come_from_the_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ann\nbob\n")))
    assert users_named([], STANDARD_INPUT) == {"ann", "bob"}


@pytest.mark.parametrize(
    ("users", "data", "where"),
    [
        ([""], b"x", "USER 1"),
        (["\ud800secret"], b"x", "USER 1"),
        ([], b"secret\n\xff", "byte 7"),
        (["secret"], b"\n\r\n", "it has none"),
    ],
)
def test_what_is_no_id_is_named_by_its_place(
    users: list[str], data: bytes, where: str, tmp_path: Path
) -> None:
    path = tmp_path / "users.txt"
    path.write_bytes(data)
    with pytest.raises(CommandError, match=where) as refused:
        users_named(users, path)
    assert "secret" not in str(refused.value)


def test_the_standard_input_cannot_answer_as_well(workspace: Workspace) -> None:
    with pytest.raises(CommandError, match="needs --yes"):
        require_consent(workspace, {"ann"}, STANDARD_INPUT)


def test_an_input_that_ends_without_an_answer_erases_nobody(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(CommandError, match=r"nothing was erased.*--yes"):
        require_consent(workspace, {"ann"}, None)


def test_what_is_said_counts_and_names_nobody(workspace: Workspace) -> None:
    (raw, *_) = build_day(workspace, DAY, now=wall_clock())
    _, events = read_events(workspace.lake.path(raw.ref))
    users = set(events["user_id"].drop_null().to_pylist()[:3]) - {""}
    said = io.StringIO()

    erase_users(workspace, {*users, "nobody-we-know"}, Console(file=said, width=200))

    text = said.getvalue()
    assert f"erased {len(users) + 1} users: " in text
    assert "1 user had no row here" in text
    assert "left: the weights of trained models" in text
    assert "certificate " in text
    assert not any(user in text for user in (*users, "nobody-we-know"))
    assert residue(workspace.root, users) == {}

    again = io.StringIO()
    erase_users(workspace, set(), Console(file=again, width=200))
    assert "nothing was left to erase" in again.getvalue()


@pytest.mark.parametrize("status", ["QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"])
def test_nothing_is_erased_while_a_run_is_in_progress(workspace: Workspace, status: str) -> None:
    instance = Orchestrator(workspace).ended()

    @dg.job
    def slow() -> None: ...

    # only a run that the webserver launches is queued, and says from which code location
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("assets"), "__repository__")
    run = instance.create_run_for_job(
        slow,
        status=dg.DagsterRunStatus(status),
        remote_job_origin=RemoteJobOrigin(repository, "slow"),
    )

    with pytest.raises(CommandError, match="the orchestrator runs slow"):
        erase_users(workspace, {"ann"}, Console(file=io.StringIO()))
    assert "ann" not in workspace.lake.tombstones()

    instance.report_run_failed(run)
    erase_users(workspace, {"ann"}, Console(file=io.StringIO()))
    assert "ann" in workspace.lake.tombstones()
