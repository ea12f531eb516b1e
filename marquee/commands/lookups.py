"""Commands that show what consumers are served."""

from functools import partial
from typing import Annotated

import typer

from marquee.commands.arguments import (
    FrameNumber,
    WorkspaceName,
    console,
    identifier,
    open_workspace,
)

lookup_app = typer.Typer()
command = partial(lookup_app.command, rich_help_panel="Look-ups")


@command()
def lookup(
    user: Annotated[str, typer.Argument(help="User id.")],
    workspace: WorkspaceName = "simulated",
    frame: FrameNumber = None,
) -> None:
    """Look one user up through the feature service: version, embedding, history by title."""
    opened = open_workspace(workspace)
    from marquee.lookups import show_user

    show_user(opened, identifier(user, "USER"), console, frame=frame)


@command()
def recommend(
    user: Annotated[str, typer.Argument(help="User id.")],
    workspace: WorkspaceName = "simulated",
    count: Annotated[int, typer.Option("--count", "-k", min=1, help="How many titles.")] = 10,
    frame: FrameNumber = None,
) -> None:
    """Show the best titles for one user, by the inner product of the stable embeddings."""
    opened = open_workspace(workspace)
    from marquee.lookups import show_recommendations

    show_recommendations(opened, identifier(user, "USER"), count, console, frame=frame)


@command()
def similar(
    item: Annotated[str, typer.Argument(help="Item id.")],
    workspace: WorkspaceName = "simulated",
    count: Annotated[int, typer.Option("--count", "-k", min=1, help="How many titles.")] = 10,
    frame: FrameNumber = None,
) -> None:
    """Show the titles nearest to one title, by the cosine of the stable embeddings."""
    opened = open_workspace(workspace)
    from marquee.lookups import show_similar

    show_similar(opened, identifier(item, "ITEM"), count, console, frame=frame)
