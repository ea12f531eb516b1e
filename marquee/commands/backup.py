"""Commands that copy a workspace's store elsewhere, and bring it back."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from marquee.commands.arguments import (
    WorkspaceName,
    console,
    erasure_key,
    open_workspace,
    root_of,
)

backup_app = typer.Typer()
command = partial(backup_app.command, rich_help_panel="Data")


@command()
def backup(
    target: Annotated[str, typer.Argument(help="Folder, or s3://bucket/prefix.")],
    workspace: WorkspaceName = "simulated",
) -> None:
    """Copy log, versions and served history; what the target has already is not copied again."""
    opened = open_workspace(workspace)
    from marquee.backup import back_up

    done = back_up(opened, target)
    console.print(
        f"{target} has the {done.backup.entries} entries of the log and what they name, "
        f"{len(done.backup.files)} files: {done.copied} copied, {done.removed} removed",
        highlight=False,
    )


@command()
def restore(
    source: Annotated[str, typer.Argument(help="Folder, or s3://bucket/prefix.")],
    workspace: WorkspaceName = "simulated",
    storage: Annotated[
        str, typer.Option(help="Keep lake and store in a bucket, s3://bucket/prefix; else on disk.")
    ] = "",
    erased: Annotated[
        Path | None,
        typer.Option(help="File of the users erased since the backup, one id a line."),
    ] = None,
) -> None:
    """Fill a workspace's empty store from a backup, without anybody who was erased."""
    from marquee.restore import restore as bring_back

    held = bring_back(
        root_of(workspace), source, storage=storage, erased=erased, erasure_key=erasure_key()
    )
    console.print(
        f"{workspace} has the {held.entries} entries of the log as of {held.made_at}: "
        "`marquee reconcile` serves them",
        highlight=False,
    )
