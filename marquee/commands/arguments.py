"""What commands are given, what becomes of it, and where they print.

Whatever takes long to import is imported where it is used: a command waits for its own needs alone,
and ``--help`` for none.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from marquee.errors import CommandError

if TYPE_CHECKING:
    from assets.workspace import Workspace

# piped into a file or a log there is no terminal to fit: wide enough for every table
console = Console(width=None if sys.stdout.isatty() else 120)


def number_of(text: str) -> int:
    """Return the number of a version by its name or number."""
    digits = text.removeprefix("v")
    if not (digits.isascii() and digits.isdecimal()):
        raise typer.BadParameter(f"want a version such as v3 or 3, got {text!r}")
    return int(digits)


def _text(value: str) -> str:
    """Return what goes into the log for good, as UTF-8 that every reader can show."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise typer.BadParameter(f"want text in UTF-8, got {value!r}") from error
    return value


WorkspaceName = Annotated[
    str, typer.Option("--workspace", "-w", help="Workspace: one world with all that belongs to it.")
]
Number = Annotated[
    int, typer.Argument(parser=number_of, metavar="VERSION", help="Such as v3 or 3.")
]
FrameNumber = Annotated[
    int | None,
    typer.Option("--frame", min=1, help="Coordinate system; default: the newest that serves."),
]
By = Annotated[str, typer.Option("--by", parser=_text, help="Who asks; recorded in the log.")]
Why = Annotated[str, typer.Option("--why", parser=_text, help="Why; recorded in the log.")]
TakenDays = Annotated[
    list[str] | None,
    typer.Argument(metavar="[DAY]...", help="YYYY-MM-DD; by default all that were taken in."),
]


def root_of(name: str) -> Path:
    """Return the workspace's folder, and point the code location at it before anything loads it."""
    from marquee.settings import Settings, workspace_folder

    root = workspace_folder(Settings().home, name)
    os.environ["MARQUEE_WORKSPACE"] = str(root)
    return root


def erasure_key() -> str:
    """Return the secret of the hashes of erased users, or nothing where none is set."""
    from marquee.settings import Settings

    return Settings().erasure_key.get_secret_value()


def open_workspace(name: str) -> "Workspace":
    """Open the workspace of that name; raises CommandError, WorkspaceError."""
    from assets.workspace import Workspace

    return Workspace.open(root_of(name), erasure_key=erasure_key())


def identifier(value: str, what: str) -> str:
    """Return an id as ids are: UTF-8 strings that are not empty; raises CommandError."""
    try:
        is_text = bool(value.encode())
    except UnicodeEncodeError:
        is_text = False
    if not is_text:
        raise CommandError(f"{what}: want an id in UTF-8 that is not empty, got {value!r}")
    return value
