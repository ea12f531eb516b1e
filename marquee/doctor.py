"""Is the installation, the workspace, the log and what Feast serves consistent?"""

import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from assets.workspace import Workspace
from embedding_store.checks import check
from lake.errors import LakeError
from marquee.errors import EXPECTED, CommandError

LIBRARIES = ("dagster", "feast", "great-expectations", "mlflow", "pyarrow", "torch")


def examine(root: Path, console: Console) -> bool:
    """Print one line per question; return whether every answer is good."""
    is_well = True
    for question, ask in _questions(root):
        try:
            answer = ask()
        except EXPECTED as error:
            is_well = False
            console.print(f"[bold red]bad[/]   {question}: {error}", highlight=False)
        else:
            console.print(f"[green]good[/]  {question}: {answer}", highlight=False)
    return is_well


def _questions(root: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "the installation", _installation
    yield "the workspace", lambda: _workspace(root)
    if not (root / "workspace.json").exists():
        return
    workspace = Workspace.open(root)
    yield "the artifacts", lambda: _artifacts(workspace)
    yield "the log and the versions", lambda: _store(workspace)
    yield "what Feast serves", lambda: _features(workspace)


def _installation() -> str:
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        raise CommandError(
            f"want CPython 3.11 or 3.12, this is {sys.version_info.major}.{sys.version_info.minor}"
        )
    try:
        versions = [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    except importlib.metadata.PackageNotFoundError as error:
        raise CommandError(f"{error.name} is not installed: run `make setup`") from error
    return ", ".join(versions)


def _workspace(root: Path) -> str:
    workspace = Workspace.open(root)
    config = workspace.config
    return f"{root}, source {config.source}, {config.first_day} to {config.last_day}"


def _artifacts(workspace: Workspace) -> str:
    refs = [
        ref
        for folder in sorted((workspace.lake.root / "refs").glob("*"))
        for ref in workspace.lake.refs(folder.name)
    ]
    for ref in refs:
        try:
            workspace.lake.verify(ref)
        except LakeError as error:
            from marquee.runs import command_for

            raise CommandError(f"{error}: `{command_for(workspace, ref)}`") from error
    return f"{len(refs)} artifacts have the digest that was recorded"


def _store(workspace: Workspace) -> str:
    problems = check(workspace.store)
    if problems:
        raise CommandError("; ".join(str(problem) for problem in problems))
    state = workspace.store.state()
    return f"{state.seq} entries, {len(state.versions)} versions with good checksums"


def _features(workspace: Workspace) -> str:
    state = workspace.store.state()
    frame = workspace.config.frame
    stable = state.stable(frame)
    if stable is None:
        return "nothing is promoted yet"
    from feature_repo.projection import confirm

    confirm(workspace.root, frame=frame)
    return f"embeddings_f{frame}_stable answers with {stable.name}, as the log says"
