"""Is the installation, the workspace, the log and what Feast serves consistent?

Every question is answered, whatever the others found; every finding says what to do.
"""

import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from assets.workspace import Workspace
from embedding_store.checks import check
from lake.errors import LakeError
from marquee.errors import expected

LIBRARIES = ("dagster", "feast", "great-expectations", "mlflow", "pyarrow", "torch")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one question found."""

    good: str
    """What holds, when there is no finding."""
    findings: tuple[str, ...] = ()


def examine(root: Path, console: Console, *, erasure_key: str = "") -> bool:
    """Print the answer to every question, or its findings; return whether there were none."""
    answers = [_show("the installation", _installation, console)]
    try:
        workspace = Workspace.open(root, erasure_key=erasure_key)
    except expected() as error:
        _print("the workspace", Answer("", (str(error),)), console)
        return False
    questions: dict[str, Callable[[Workspace], Answer]] = {
        "the workspace": _workspace,
        "the artifacts": _artifacts,
        "erased users": _erasures,
        "the log and the versions": _store,
        "what Feast serves": _features,
    }
    for question, ask in questions.items():
        answers.append(_show(question, partial(ask, workspace), console))
    return not any(answer.findings for answer in answers)


def _show(question: str, ask: Callable[[], Answer], console: Console) -> Answer:
    try:
        answer = ask()
    except expected() as error:
        answer = Answer("", (str(error),))
    _print(question, answer, console)
    return answer


def _print(question: str, answer: Answer, console: Console) -> None:
    if not answer.findings:
        line = f"[green]good[/]  {question}: {escape(answer.good)}"
        console.print(line, highlight=False, soft_wrap=True)
        return
    num = len(answer.findings)
    heading = f"[bold red]bad[/]   {question}: {num} {'finding' if num == 1 else 'findings'}"
    console.print(heading, highlight=False)
    for finding in answer.findings:
        console.print(f"      - {escape(finding)}", highlight=False, soft_wrap=True)


def _installation() -> Answer:
    findings = []
    versions = []
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        findings.append(
            f"want CPython 3.11 or 3.12, this is {sys.version_info.major}.{sys.version_info.minor}:"
            " remove .venv and run `make setup PYTHON=python3.11`"
        )
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            findings.append(f"{name} is not installed: run `make setup`")
    return Answer(", ".join(versions), tuple(findings))


def _workspace(workspace: Workspace) -> Answer:
    config = workspace.config
    return Answer(
        f"{workspace.root}, source {config.source}, {config.first_day} to {config.last_day}"
    )


def _artifacts(workspace: Workspace) -> Answer:
    built = list(workspace.lake.built())
    findings = tuple(found for one in built for found in _of_artifact(workspace, *one))
    return Answer(f"{len(built)} artifacts have the digest that was recorded", findings)


def _of_artifact(workspace: Workspace, asset: str, partition: str) -> Iterator[str]:
    """Yield what is wrong with an artifact, with the command that makes it again."""
    from marquee.runs import command_for

    try:
        workspace.lake.verify(workspace.lake.require(asset, partition))
    except (LakeError, OSError) as error:
        command = command_for(workspace, asset, partition)
        yield f"{error}: `{command}`" if command else str(error)


def _erasures(workspace: Workspace) -> Answer:
    num = len(workspace.lake.tombstones())
    unfinished = [*workspace.lake.storage.objects.list("erasures/requested")]
    if unfinished:
        finish = f"marquee erase --workspace {workspace.root.name}"
        return Answer("", (f"an erasure was not finished: run `{finish}`, which names nobody",))
    return Answer(f"{num:,} have a tombstone" if num else "there are none")


def _store(workspace: Workspace) -> Answer:
    if problems := check(workspace.store):
        return Answer("", tuple(problems))
    state = workspace.store.state()
    return Answer(f"{state.seq} entries, {len(state.versions)} versions with good checksums")


def _features(workspace: Workspace) -> Answer:
    state = workspace.store.state()
    stable = {frame: one for frame in state.frames if (one := state.stable(frame)) is not None}
    if not stable:
        return Answer("nothing is promoted yet")
    from feature_repo.projection import confirm

    for frame in stable:
        confirm(workspace.root, frame=frame)
    answers = ", ".join(
        f"embeddings_f{frame}_stable answers with {one.name}" for frame, one in stable.items()
    )
    return Answer(f"{answers}, as the log says")
