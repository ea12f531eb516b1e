"""``marquee source``: a mapping for one's own event log."""

from pathlib import Path
from typing import Annotated

import typer

from marquee.commands.arguments import console

source_app = typer.Typer(no_args_is_help=True, help="Your own event log: files and their mapping.")


@source_app.command("init")
def source_init(
    files: Annotated[list[Path], typer.Argument(help="Parquet or CSV files, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", help="The mapping to write.")],
    catalogue: Annotated[
        list[Path] | None, typer.Option("--catalogue", help="File or folder that describes items.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What to call the log.")] = "own",
) -> None:
    """Draft a mapping from files: what only you can decide is marked DECIDE."""
    from marquee.sources import init_mapping

    init_mapping(files, catalogue=catalogue or [], out=out, name=name, console=console)


@source_app.command("check")
def source_check(
    mapping: Annotated[Path, typer.Argument(help="The mapping, a TOML file.")],
) -> None:
    """Say what a mapping would take of your files, what it would refuse, and what to change."""
    from marquee.sources import check_mapping

    if not check_mapping(mapping, console):
        raise typer.Exit(1)
