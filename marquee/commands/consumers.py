"""Commands for who reads: what they were promised, and the index that answers them."""

from pathlib import Path
from typing import Annotated

import typer

from marquee.commands.arguments import (
    By,
    FrameNumber,
    WorkspaceName,
    console,
    number_of,
    open_workspace,
)

index_app = typer.Typer()
consumers_app = typer.Typer(no_args_is_help=True, help="Who relies on what, and who gets it.")


@index_app.command(rich_help_panel="Versions")
def index(
    number: Annotated[
        int | None,
        typer.Argument(parser=number_of, metavar="[VERSION]", help="Default: the stable one."),
    ] = None,
    workspace: WorkspaceName = "simulated",
    frame: FrameNumber = None,
) -> None:
    """Build an approximate index of a version's items, and measure its recall."""
    opened = open_workspace(workspace)
    from marquee.indexing import index_version

    with opened.writing():
        index_version(opened, number, console=console, frame=frame)


@consumers_app.command("list")
def list_(workspace: WorkspaceName = "simulated") -> None:
    """List the registered services and what they need."""
    opened = open_workspace(workspace)
    from marquee.consumers import list_consumers

    list_consumers(opened, console)


@consumers_app.command()
def check(workspace: WorkspaceName = "simulated") -> None:
    """Check what is served against what each service needs."""
    opened = open_workspace(workspace)
    from marquee.consumers import check_consumers

    check_consumers(opened, console)


@consumers_app.command()
def register(
    file: Annotated[Path, typer.Argument(help="YAML: who they are and what they need.")],
    workspace: WorkspaceName = "simulated",
    by: By = "operator",
) -> None:
    """Register a service: no version that breaks its needs is promoted from then on."""
    opened = open_workspace(workspace)
    from marquee.consumers import register_consumer

    register_consumer(opened, file, by=by, console=console)


@consumers_app.command()
def remove(
    name: Annotated[str, typer.Argument(help="As listed, such as home-page/ranker.")],
    workspace: WorkspaceName = "simulated",
    by: By = "operator",
) -> None:
    """Take a service that reads no more out of the registry."""
    opened = open_workspace(workspace)
    from marquee.consumers import remove_consumer

    remove_consumer(opened, name, by=by, console=console)
