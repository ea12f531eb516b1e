"""Commands on versions: what is published, what its names mean, and making it again."""

from functools import partial
from typing import Annotated

import typer

from marquee.commands.arguments import (
    By,
    FrameNumber,
    Number,
    Why,
    WorkspaceName,
    console,
    number_of,
    open_workspace,
)

version_app = typer.Typer()
command = partial(version_app.command, rich_help_panel="Versions")


@command()
def status(workspace: WorkspaceName = "simulated", frame: FrameNumber = None) -> None:
    """Show what is published, how old it is, and the figures of its gates."""
    opened = open_workspace(workspace)
    from marquee.standing import show_status

    show_status(opened, console, frame=frame)


@command()
def versions(workspace: WorkspaceName = "simulated") -> None:
    """List every published version and what its names were."""
    opened = open_workspace(workspace)
    from marquee.standing import show_versions

    show_versions(opened, console)


@command()
def evaluate(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="First day, YYYY-MM-DD.")],
    last: Annotated[str, typer.Argument(metavar="LAST", help="Last day, YYYY-MM-DD.")],
    workspace: WorkspaceName = "simulated",
    version: Annotated[
        int | None,
        typer.Option(parser=number_of, metavar="VERSION", help="Default: the stable one."),
    ] = None,
) -> None:
    """Evaluate a version's model on later days, pooled, against popularity."""
    opened = open_workspace(workspace)
    from marquee.evaluation import show_evaluation

    show_evaluation(opened, number=version, first=first, last=last, console=console)


@command()
def rollback(
    workspace: WorkspaceName = "simulated",
    to: Annotated[
        int | None,
        typer.Option(parser=number_of, metavar="VERSION", help="Default: the previous one."),
    ] = None,
    frame: FrameNumber = None,
    by: By = "operator",
    why: Why = "asked for on the command line",
) -> None:
    """Let ``stable`` mean an earlier version again, at once and without recomputation."""
    opened = open_workspace(workspace)
    from marquee.operations import roll_back

    # not `writing`: what consumers are served must not wait for hours of training
    roll_back(opened, to=to, frame=frame, by=by, why=why, console=console)


@command()
def promote(
    number: Number,
    workspace: WorkspaceName = "simulated",
    by: By = "operator",
    why: Why = "asked for on the command line",
) -> None:
    """Let ``stable`` mean a published version: go forward again after a rollback."""
    opened = open_workspace(workspace)
    from marquee.operations import promote_version

    with opened.writing():
        promote_version(opened, number, by=by, why=why, console=console)


@command()
def retire(
    number: Number,
    workspace: WorkspaceName = "simulated",
    by: By = "operator",
    why: Why = "asked for on the command line",
) -> None:
    """Take a version that is not stable out of use for good."""
    opened = open_workspace(workspace)
    from marquee.operations import retire_version

    with opened.writing():
        retire_version(opened, number, by=by, why=why, console=console)


@command()
def republish(
    day: Annotated[str, typer.Argument(help="Published day, YYYY-MM-DD.")],
    workspace: WorkspaceName = "simulated",
    why: Why = "asked for on the command line",
) -> None:
    """Make a published day again from what is known now, as another version."""
    opened = open_workspace(workspace)
    from marquee.operations import republish_day

    with opened.writing():
        republish_day(opened, day, why=why, console=console)


@command()
def reconcile(workspace: WorkspaceName = "simulated") -> None:
    """Rebuild the feature registry, the online rows and the served history from the log."""
    opened = open_workspace(workspace)
    from marquee.operations import reconcile_features

    with opened.writing():
        reconcile_features(opened, console)


@command()
def online(
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="sqlite, redis or postgres.")
    ] = None,
    workspace: WorkspaceName = "simulated",
) -> None:
    """Say which store holds the online rows, or move them to another."""
    opened = open_workspace(workspace)
    from marquee.operations import choose_online

    with opened.writing():
        choose_online(opened, kind, console)
