"""``marquee erase``: who is named, whether it may run now, and what is said about it."""

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

from assets.erasure import Certificate, certificate_key, erase
from assets.workspace import Workspace
from marquee.errors import CommandError
from marquee.runs import Orchestrator

STANDARD_INPUT = Path("-")


def users_named(users: Sequence[str], file: Path | None) -> set[str]:
    """Return the ids of the command line and those of a file, one a line; raises CommandError.

    No message repeats an id.
    """
    named = [(f"USER {number}", one) for number, one in enumerate(users, start=1)]
    if file is not None:
        lines = list(_lines(file))
        if not lines:
            raise CommandError("--from: want ids, one a line; it has none")
        named += lines
    for where, one in named:
        _require_id(where, one)
    return {one for _, one in named}


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    data = sys.stdin.buffer.read() if file == STANDARD_INPUT else file.read_bytes()
    try:
        text = data.decode("utf-8-sig")  # a mark that editors put first is no part of an id
    except UnicodeDecodeError as error:
        raise CommandError(f"--from: want ids in UTF-8, one a line; byte {error.start}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if one := line.removesuffix("\r"):
            yield f"--from, line {number}", one


def _require_id(where: str, one: str) -> None:
    try:
        is_text = bool(one.encode())
    except UnicodeEncodeError:
        is_text = False
    if not is_text:
        raise CommandError(f"{where}: want an id in UTF-8 that is not empty")


def require_consent(workspace: Workspace, users: set[str], file: Path | None) -> None:
    """Ask on the terminal whether it is meant, as there is no way back; raises CommandError."""
    if file == STANDARD_INPUT:
        raise CommandError("--from - needs --yes: the answer would be read as an id")
    question = (
        f"Erase {_counted(len(users), 'user')} from {workspace.root.name} for good: their events, "
        "tokens and vectors, and whatever of theirs is delivered again?"
    )
    try:
        is_meant = typer.confirm(question)
    except typer.Abort as error:  # the input ended, as in a script, or Ctrl-C
        raise CommandError(
            "nothing was erased, as nobody answered: in a script, --yes does"
        ) from error
    if not is_meant:
        raise CommandError("nothing was erased")


def erase_users(workspace: Workspace, users: set[str], console: Console) -> None:
    """Erase users and say what was erased and what was left; raises CommandError during a run.

    Whoever calls holds the workspace.
    """
    if (workspace.root / "dagster").exists():
        Orchestrator(workspace).require_idle()
    certificate = erase(workspace, users, at=datetime.now(UTC))
    for line in _said(workspace, certificate):
        console.print(escape(line), highlight=False, soft_wrap=True)


def _said(workspace: Workspace, certificate: Certificate) -> Iterator[str]:
    versions = sum(len(one.versions) for one in certificate.published)
    if certificate.artifacts or versions:
        yield (
            f"erased {_counted(len(certificate.users), 'user')}: "
            f"{_counted(certificate.rows, 'row')} removed from "
            f"{_counted(len(certificate.artifacts), 'artifact')}, and whatever they had in "
            f"{_counted(versions, 'published version')}; nothing was recomputed"
        )
    else:
        yield "nothing was left to erase: no artifact and no version holds a row of an erased user"
    if unknown := len(certificate.users_without_rows):
        yield (
            f"{_counted(unknown, 'user')} had no row here; what arrives of theirs is not taken in "
            "either"
        )
    for left in certificate.left:
        yield f"left: {left.what}: {left.why}"
    yield f"certificate {workspace.lake.storage.url}/{certificate_key(certificate)}"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
