"""The command that keeps the feature registry in a file or in a database."""

from functools import partial
from typing import Annotated

import typer

from marquee.commands.arguments import WorkspaceName, console, open_workspace
from marquee.errors import CommandError

registry_app = typer.Typer()
command = partial(registry_app.command, rich_help_panel="Versions")


@command()
def registry(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help="file or sql.")] = None,
    workspace: WorkspaceName = "simulated",
) -> None:
    """Say where the feature registry is, or keep it elsewhere: a database has several writers."""
    opened = open_workspace(workspace)
    from feature_repo.folder import REGISTRY_KINDS, FeastFolder
    from feature_repo.moving import move_registry
    from marquee.operations import sentence

    with opened.writing():
        if kind is None:
            found = FeastFolder.of(opened.root).registry_kind()
            console.print(f"the feature registry is of kind {found}", highlight=False)
            return
        chosen = next((one for one in REGISTRY_KINDS if one == kind), None)
        if chosen is None:
            raise CommandError(f"registry: want one of {', '.join(REGISTRY_KINDS)}, got {kind!r}")
        report = move_registry(opened.root, chosen, erasure_key=opened.erasure_key)
        console.print(sentence(report))
