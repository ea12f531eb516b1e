"""The command that serves features over HTTP to whoever shows a token."""

from functools import partial
from typing import Annotated

import typer

from marquee.commands.arguments import WorkspaceName, open_workspace

serving_app = typer.Typer()
command = partial(serving_app.command, rich_help_panel="Versions")


@command(name="serve-features")
def serve_features(
    workspace: WorkspaceName = "simulated",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 6566,
) -> None:
    """Start Feast's feature server, which verifies tokens; Ctrl-C stops it."""
    opened = open_workspace(workspace)
    from feature_repo.folder import FeastFolder
    from feature_repo.serving import serve

    serve(FeastFolder.of(opened.root), host=host, port=port)
