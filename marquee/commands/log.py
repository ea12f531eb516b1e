"""The command that shows the commit log to people and to scripts."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from marquee.commands.arguments import WorkspaceName, console, open_workspace

log_app = typer.Typer()


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"want YYYY-MM-DD or an ISO instant, got {text!r}") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@log_app.command(rich_help_panel="Versions")
def log(
    workspace: WorkspaceName = "simulated",
    count: Annotated[
        int | None,
        typer.Option("-n", min=1, help="How many, the newest. Default: 20; with --json: all."),
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", help="Only these, such as alias_set; may be given again."),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(parser=_instant, metavar="INSTANT", help="Recorded then or later, in UTC."),
    ] = None,
    *,
    is_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show what changed in the store: when, what, who asked for it and why."""
    opened = open_workspace(workspace)
    from marquee.log_reader import SHOWN, chosen_entries, show_entries, show_json

    entries = chosen_entries(opened.store.log.entries(), kinds=kinds or (), since=since)
    if is_json:
        show_json(entries, console, count=count)
    else:
        show_entries(entries, console, count=count or SHOWN)
