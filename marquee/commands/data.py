"""Commands that take care of data: what is refused, taken in again, erased and collected."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from marquee.commands.arguments import TakenDays, WorkspaceName, console, open_workspace

data_app = typer.Typer()
command = partial(data_app.command, rich_help_panel="Data")


@command()
def quarantine(days: TakenDays = None, workspace: WorkspaceName = "simulated") -> None:
    """Show which rows broke which rule on which day."""
    opened = open_workspace(workspace)
    from marquee.quarantine import show_quarantine

    show_quarantine(opened, days or [], console)


@command()
def release(days: TakenDays = None, workspace: WorkspaceName = "simulated") -> None:
    """Judge rows in quarantine again after a fix: their days are taken in again."""
    opened = open_workspace(workspace)
    from marquee.quarantine import release_days

    with opened.writing():
        release_days(opened, days or [], console)


@command()
def erase(
    users: Annotated[
        list[str] | None, typer.Argument(metavar="USER...", help="User ids; a shell keeps them.")
    ] = None,
    workspace: WorkspaceName = "simulated",
    file: Annotated[
        Path | None,
        typer.Option("--from", help="File of user ids, one a line; - with --yes: a pipe."),
    ] = None,
    *,
    is_sure: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")] = False,
) -> None:
    """Erase users for good; naming nobody erases what a killed erasure or a backup left."""
    opened = open_workspace(workspace)
    from marquee.erasure import erase_users, require_consent, users_named

    named = users_named(users or [], file)
    if named and not is_sure:
        require_consent(opened, named, file)
    with opened.writing():
        erase_users(opened, named, console)


@command()
def gc(
    workspace: WorkspaceName = "simulated",
    *,
    is_rehearsal: Annotated[
        bool, typer.Option("--dry-run", help="Say what, remove nothing.")
    ] = False,
) -> None:
    """Remove what is old and nothing needs any more, as docs/erasure-and-retention.md says."""
    opened = open_workspace(workspace)
    from marquee.collection import collect_garbage

    with opened.writing():
        collect_garbage(opened, console, now=datetime.now(UTC), is_rehearsal=is_rehearsal)


@command()
def sweep(workspace: WorkspaceName = "simulated") -> None:
    """Remove what killed runs left: unfinished folders, and uploads begun a day ago or earlier."""
    opened = open_workspace(workspace)
    opened.sweep()
    console.print(f"swept {workspace}: what living runs are at stays")
