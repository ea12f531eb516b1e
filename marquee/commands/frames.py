"""Commands on frames: the coordinate systems that versions are published in."""

from functools import partial
from typing import Annotated

import typer

from marquee.commands.arguments import By, Why, WorkspaceName, console, open_workspace

frames_app = typer.Typer()
command = partial(frames_app.command, rich_help_panel="Versions")


@command()
def frames(workspace: WorkspaceName = "simulated") -> None:
    """List the coordinate systems: since when and why, what they serve, who reads them."""
    opened = open_workspace(workspace)
    from marquee.frames import show_frames

    show_frames(opened, console)


@command("retire-frame")
def retire_frame(
    number: Annotated[int, typer.Argument(min=1, metavar="FRAME", help="Such as 1.")],
    workspace: WorkspaceName = "simulated",
    by: By = "operator",
    why: Why = "asked for on the command line",
) -> None:
    """Take a frame that no registered consumer reads out of use for good."""
    opened = open_workspace(workspace)
    from marquee.operations import retire_frame as retire

    with opened.writing():
        retire(opened, number, by=by, why=why, console=console)
