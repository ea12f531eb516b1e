"""The command that brings fresh user embeddings online before the next version."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from marquee.commands.arguments import (
    FrameNumber,
    WorkspaceName,
    console,
    number_of,
    open_workspace,
)
from marquee.errors import CommandError

push_app = typer.Typer()
command = partial(push_app.command, rich_help_panel="Versions")


@command()
def push(
    file: Annotated[
        Path, typer.Argument(help="Parquet file with the columns user_id and embedding.")
    ],
    version: Annotated[
        int,
        typer.Option(
            parser=number_of, metavar="VERSION", help="Whose model made the vectors, such as v3."
        ),
    ],
    workspace: WorkspaceName = "simulated",
    frame: FrameNumber = None,
) -> None:
    """Let online look-ups of users answer with fresher vectors, until the next version."""
    if not file.exists():
        raise CommandError(f"no file {file}: want user_id and embedding, in Parquet")
    opened = open_workspace(workspace)
    from feature_repo.push import push_users
    from feature_repo.pushed_files import read_pushed

    ids, vectors = read_pushed(file)
    done = push_users(
        opened.root,
        ids,
        vectors,
        version=f"v{version}",
        frame=opened.served_frame if frame is None else frame,
        erasure_key=opened.erasure_key,
    )
    console.print(f"{done.num_users:,} users pushed into {done.version}", highlight=False)
