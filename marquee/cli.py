"""The command line. Those on a world take ``--workspace``; all exit non-zero when they fail."""

import logging
import os
import sqlite3
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

# embedded tools phone home by default; this must stand before any of them is imported
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "true")

import typer
from rich.console import Console

from assets.workspace import Workspace
from marquee.errors import EXPECTED, CommandError
from marquee.settings import Settings
from marquee.worlds import SOURCES, workspace_folder, world

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Marquee: one foundation model, from raw events to versioned embedding features.",
)
source_app = typer.Typer(no_args_is_help=True, help="Your own event log: files and their mapping.")
app.add_typer(source_app, name="source")
# piped into a file or a log there is no terminal to fit: wide enough for every table
console = Console(width=None if sys.stdout.isatty() else 120)

WorkspaceName = Annotated[
    str, typer.Option("--workspace", "-w", help="Workspace: one world with all that belongs to it.")
]


def _number(text: str) -> int:
    """Return the number of a version by its name or number."""
    digits = text.removeprefix("v")
    if not (digits.isascii() and digits.isdecimal()):
        raise typer.BadParameter(f"want a version such as v3 or 3, got {text!r}")
    return int(digits)


Number = Annotated[int, typer.Argument(parser=_number, metavar="VERSION", help="Such as v3 or 3.")]


def _text(value: str) -> str:
    """Return what goes into the log for good, as UTF-8 that every reader can show."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise typer.BadParameter(f"want text in UTF-8, got {value!r}") from error
    return value


By = Annotated[str, typer.Option("--by", parser=_text, help="Who asks; recorded in the log.")]
Why = Annotated[str, typer.Option("--why", parser=_text, help="Why; recorded in the log.")]


TakenDays = Annotated[
    list[str] | None,
    typer.Argument(metavar="[DAY]...", help="YYYY-MM-DD; by default all that were taken in."),
]


def _root(name: str) -> Path:
    """Return the workspace's folder, and point the code location at it before anything loads it."""
    root = workspace_folder(Settings().home, name)
    os.environ["MARQUEE_WORKSPACE"] = str(root)
    return root


def _identifier(value: str, what: str) -> str:
    """Return an id as ids are: UTF-8 strings that are not empty."""
    try:
        is_text = bool(value.encode())
    except UnicodeEncodeError:
        is_text = False
    if not is_text:
        raise CommandError(f"{what}: want an id in UTF-8 that is not empty, got {value!r}")
    return value


def _open(name: str) -> Workspace:
    return Workspace.open(_root(name))


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
    opened = Workspace.create(_root(workspace), world(source, data, storage))
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
    opened = _open(workspace)
    if through and job != "ingestion":
        raise CommandError(f"--through goes with --job ingestion, got --job {job}")
    from marquee.runs import Orchestrator

    with opened.writing():
        if through:
            Orchestrator(opened).ingest(day, through)
        else:
            Orchestrator(opened).run(job, day)


@app.command()
def evaluate(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="First day, YYYY-MM-DD.")],
    last: Annotated[str, typer.Argument(metavar="LAST", help="Last day, YYYY-MM-DD.")],
    workspace: WorkspaceName = "simulated",
    version: Annotated[
        int | None,
        typer.Option(parser=_number, metavar="VERSION", help="Default: the stable one."),
    ] = None,
) -> None:
    """Evaluate a version's model on later days, pooled, against popularity."""
    opened = _open(workspace)
    from marquee.evaluation import show_evaluation

    show_evaluation(opened, number=version, first=first, last=last, console=console)


@app.command()
def status(workspace: WorkspaceName = "simulated") -> None:
    """Show what is published, how old it is, and the figures of its gates."""
    opened = _open(workspace)
    from marquee.standing import show_status

    show_status(opened, console)


@app.command()
def versions(workspace: WorkspaceName = "simulated") -> None:
    """List every published version and what its names were."""
    opened = _open(workspace)
    from marquee.standing import show_versions

    show_versions(opened, console)


@app.command()
def quarantine(days: TakenDays = None, workspace: WorkspaceName = "simulated") -> None:
    """Show which rows broke which rule on which day."""
    opened = _open(workspace)
    from marquee.quarantine import show_quarantine

    show_quarantine(opened, days or [], console)


@app.command()
def release(days: TakenDays = None, workspace: WorkspaceName = "simulated") -> None:
    """Judge rows in quarantine again after a fix: their days are taken in again."""
    opened = _open(workspace)
    from marquee.quarantine import release_days

    with opened.writing():
        release_days(opened, days or [], console)


@app.command()
def lookup(
    user: Annotated[str, typer.Argument(help="User id.")], workspace: WorkspaceName = "simulated"
) -> None:
    """Look one user up through the feature service: version, embedding, history by title."""
    opened = _open(workspace)
    from marquee.lookups import show_user

    show_user(opened, _identifier(user, "USER"), console)


@app.command()
def recommend(
    user: Annotated[str, typer.Argument(help="User id.")],
    workspace: WorkspaceName = "simulated",
    count: Annotated[int, typer.Option("--count", "-k", min=1, help="How many titles.")] = 10,
) -> None:
    """Show the best titles for one user, by the inner product of the stable embeddings."""
    opened = _open(workspace)
    from marquee.lookups import show_recommendations

    show_recommendations(opened, _identifier(user, "USER"), count, console)


@app.command()
def similar(
    item: Annotated[str, typer.Argument(help="Item id.")],
    workspace: WorkspaceName = "simulated",
    count: Annotated[int, typer.Option("--count", "-k", min=1, help="How many titles.")] = 10,
) -> None:
    """Show the titles nearest to one title, by the cosine of the stable embeddings."""
    opened = _open(workspace)
    from marquee.lookups import show_similar

    show_similar(opened, _identifier(item, "ITEM"), count, console)


@app.command()
def rollback(
    workspace: WorkspaceName = "simulated",
    to: Annotated[
        int | None,
        typer.Option(parser=_number, metavar="VERSION", help="Default: the previous one."),
    ] = None,
    by: By = "operator",
    why: Why = "asked for on the command line",
) -> None:
    """Let ``stable`` mean an earlier version again, at once and without recomputation."""
    opened = _open(workspace)
    from marquee.operations import roll_back

    with opened.writing():
        roll_back(opened, to=to, by=by, why=why, console=console)


@app.command()
def promote(
    number: Number,
    workspace: WorkspaceName = "simulated",
    by: By = "operator",
    why: Why = "asked for on the command line",
) -> None:
    """Let ``stable`` mean a published version: go forward again after a rollback."""
    opened = _open(workspace)
    from marquee.operations import promote_version

    with opened.writing():
        promote_version(opened, number, by=by, why=why, console=console)


@app.command()
def retire(
    number: Number,
    workspace: WorkspaceName = "simulated",
    by: By = "operator",
    why: Why = "asked for on the command line",
) -> None:
    """Take a version that is not stable out of use for good."""
    opened = _open(workspace)
    from marquee.operations import retire_version

    with opened.writing():
        retire_version(opened, number, by=by, why=why, console=console)


@app.command()
def republish(
    day: Annotated[str, typer.Argument(help="Published day, YYYY-MM-DD.")],
    workspace: WorkspaceName = "simulated",
    why: Why = "asked for on the command line",
) -> None:
    """Make a published day again from what is known now, as another version."""
    opened = _open(workspace)
    from marquee.operations import republish_day

    with opened.writing():
        republish_day(opened, day, why=why, console=console)


@app.command()
def reconcile(workspace: WorkspaceName = "simulated") -> None:
    """Rebuild the feature registry, the online rows and the served history from the log."""
    opened = _open(workspace)
    from marquee.operations import reconcile_features

    with opened.writing():
        reconcile_features(opened, console)


@app.command()
def erase(
    users: Annotated[
        list[str] | None, typer.Argument(metavar="USER...", help="User ids; a shell keeps them.")
    ] = None,
    workspace: WorkspaceName = "simulated",
    file: Annotated[
        Path | None, typer.Option("--from", help="File of user ids, one a line; - reads them.")
    ] = None,
    *,
    is_sure: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")] = False,
) -> None:
    """Erase users for good; naming nobody erases what a killed erasure or a backup left."""
    opened = _open(workspace)
    from marquee.erasure import erase_users, require_consent, users_named

    named = users_named(users or [], file)
    if named and not is_sure:
        require_consent(opened, named, file)
    with opened.writing():
        erase_users(opened, named, console)


@app.command()
def gc(
    workspace: WorkspaceName = "simulated",
    *,
    is_rehearsal: Annotated[
        bool, typer.Option("--dry-run", help="Say what, remove nothing.")
    ] = False,
) -> None:
    """Remove what is old and nothing needs any more, as docs/erasure-and-retention.md says."""
    opened = _open(workspace)
    from marquee.collection import collect_garbage

    with opened.writing():
        collect_garbage(opened, console, now=datetime.now(UTC), is_rehearsal=is_rehearsal)


@app.command()
def ui(
    workspace: WorkspaceName = "simulated",
    dagster_port: Annotated[int, typer.Option(help="Of Dagster.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Of MLflow; runs are linked at 5000.")] = 5000,
    feast_port: Annotated[int, typer.Option(help="Of Feast.")] = 8888,
    pages_port: Annotated[int, typer.Option(help="Of pictures, which are linked at 3080.")] = 3080,
) -> None:
    """Start Dagster, MLflow and Feast over a workspace, for the browser; Ctrl-C stops them."""
    opened = _open(workspace)
    from marquee.ui import Ports, serve

    ports = Ports(dagster=dagster_port, mlflow=mlflow_port, feast=feast_port, pages=pages_port)
    serve(opened, ports, console)


@app.command()
def sweep(workspace: WorkspaceName = "simulated") -> None:
    """Remove what killed runs left: unfinished folders, and uploads begun a day ago or earlier."""
    opened = _open(workspace)
    opened.sweep()
    console.print(f"swept {workspace}: what living runs are at stays")


@app.command()
def doctor(workspace: WorkspaceName = "simulated") -> None:
    """Check the installation, the workspace, the log and the features for consistency."""
    from marquee.doctor import examine

    if not examine(_root(workspace), console):
        raise typer.Exit(1)


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


def main() -> int:
    """Run the command line; return the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    warnings.simplefilter("ignore")  # third-party deprecations are for us to read, in the tests
    try:
        return int(app(standalone_mode=False) or 0)
    except EXPECTED as error:
        sys.stderr.write(f"error: {describe(error)}\n")
        return 1
    except typer.TyperException as error:
        sys.stderr.write(f"error: {error.format_message()}\n")
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted: what was published stays; run the same command again\n")
        return 130


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
