"""The command line. Those on a world take ``--workspace``; all exit non-zero when they fail.

Here is what runs a world; the other commands are in ``marquee.commands``, a module for each kind.
"""

import logging
import os
import sqlite3
import sys
import warnings
from pathlib import Path
from typing import Annotated

# embedded tools phone home by default; this must stand before any of them is imported
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "true")

import typer

from marquee.commands.arguments import (
    WorkspaceName,
    console,
    erasure_key,
    open_workspace,
    root_of,
)
from marquee.commands.backup import backup_app
from marquee.commands.consumers import consumers_app, index_app
from marquee.commands.data import data_app
from marquee.commands.frames import frames_app
from marquee.commands.log import log_app
from marquee.commands.lookups import lookup_app
from marquee.commands.push import push_app
from marquee.commands.registry import registry_app
from marquee.commands.serving import serving_app
from marquee.commands.source import source_app
from marquee.commands.versions import version_app
from marquee.errors import CommandError, expected
from marquee.source_names import SOURCES

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Marquee: one foundation model, from raw events to versioned embedding features.",
)
for commands in (
    version_app,
    frames_app,
    log_app,
    push_app,
    registry_app,
    serving_app,
    index_app,
    lookup_app,
    data_app,
    backup_app,
):
    app.add_typer(commands)  # without a name: their commands are the app's
app.add_typer(source_app, name="source")
app.add_typer(consumers_app, name="consumers")


@app.command()
def demo(
    workspace: WorkspaceName = "simulated",
    source: Annotated[str, typer.Option(help=f"One of {', '.join(SOURCES)}.")] = "simulated",
    data: Annotated[
        Path | None, typer.Option(help="Folder of the source's files, or a mapping.")
    ] = None,
    storage: Annotated[
        str, typer.Option(help="Keep lake and store in a bucket, s3://bucket/prefix; else on disk.")
    ] = "",
) -> None:
    """Run the whole lifecycle, from raw events to a look-up; finished work is skipped."""
    from assets.workspace import Workspace
    from marquee.worlds import world

    asked = world(source, data, storage)
    opened = Workspace.create(root_of(workspace), asked, erasure_key=erasure_key())
    from marquee.demo import run_demo
    from marquee.summary import show_summary

    seconds = run_demo(opened)
    show_summary(opened, console, seconds=seconds)


@app.command()
def run(
    day: Annotated[str, typer.Argument(help="Day, YYYY-MM-DD.")],
    workspace: WorkspaceName = "simulated",
    job: Annotated[str, typer.Option(help="Job to run for that partition.")] = "daily_refresh",
    through: Annotated[
        str | None,
        typer.Option(metavar="DAY", help="With --job ingestion: take in all days up to this one."),
    ] = None,
) -> None:
    """Run one job of the orchestrator for one partition, or take in many days in one run."""
    opened = open_workspace(workspace)
    if through and job != "ingestion":
        raise CommandError(f"--through goes with --job ingestion, got --job {job}")
    from marquee.runs import Orchestrator

    with opened.writing():
        if through:
            num_there = Orchestrator(opened).ingest(day, through)
        else:
            num_there = Orchestrator(opened).run(job, day)
    if num_there:
        console.print(f"{num_there} artifacts were there already", highlight=False)


@app.command()
def ui(
    workspace: WorkspaceName = "simulated",
    dagster_port: Annotated[int, typer.Option(help="Of Dagster.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Of MLflow; runs are linked at 5000.")] = 5000,
    feast_port: Annotated[int, typer.Option(help="Of Feast.")] = 8888,
    pages_port: Annotated[int, typer.Option(help="Of pictures, which are linked at 3080.")] = 3080,
) -> None:
    """Start Dagster, MLflow and Feast over a workspace, for the browser; Ctrl-C stops them."""
    opened = open_workspace(workspace)
    from marquee.ui import Ports, serve

    ports = Ports(dagster=dagster_port, mlflow=mlflow_port, feast=feast_port, pages=pages_port)
    serve(opened, ports, console)


@app.command()
def doctor(workspace: WorkspaceName = "simulated") -> None:
    """Check the installation, the workspace, the log and the features for consistency."""
    from marquee.doctor import examine

    if not examine(root_of(workspace), console, erasure_key=erasure_key()):
        raise typer.Exit(1)


def main() -> int:
    """Run the command line; return the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    warnings.simplefilter("ignore")  # third-party deprecations are for us to read, in the tests
    # Feast 0.67 puts a filter of its own before this one when it is imported
    logging.captureWarnings(capture=True)
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
    try:
        return int(app(standalone_mode=False) or 0)
    except typer.TyperException as error:
        sys.stderr.write(f"error: {error.format_message()}\n")
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted: what was published stays; run the same command again\n")
        return 130
    except expected() as error:
        sys.stderr.write(f"error: {describe(error)}\n")
        return 1


def describe(error: BaseException) -> str:
    """Return what happened and what to do, in one message."""
    match error:
        case OSError(errno=28):
            where = error.filename or "the disk"
            return f"no space left on {where}: free some and run the same command again"
        case sqlite3.DatabaseError():
            return (
                f"a database of the workspace cannot be used: {error}. Free space and check the "
                "permissions of its folder; where feast/online.db is damaged, remove it and run "
                "`marquee reconcile`, which writes it from the published versions"
            )
        case PermissionError():
            return (
                f"no permission for {error.filename}: give this user access, or set MARQUEE_HOME "
                "to a folder of their own"
            )
        case NotADirectoryError() | OSError(errno=30):
            return (
                f"cannot write to {error.filename}: {error.strerror}: set MARQUEE_HOME to a folder "
                "that can be written to"
            )
    return str(error)
