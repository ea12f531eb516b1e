"""The commands that the pages show exist, and those that only read are run on the tiny world."""

import os
import subprocess
import sys
from functools import cache
from tempfile import TemporaryDirectory

import pytest

from embedding_store import EmbeddingClient
from tests.docs.commands import (
    ROOT,
    Make,
    Module,
    UnknownCommandError,
    commands,
    pages,
    parsed,
)
from tests.integration.conftest import Run, Survived
from training.tokens.activity import users_of

READ_ONLY = {
    "status",
    "versions",
    "frames",
    "log",
    "lookup",
    "recommend",
    "similar",
    "doctor",
}
SHOWN = sorted({command for page in pages() for command in commands(page.read_text())})


def is_read_only(command: str) -> bool:
    try:
        call = parsed(command)
    except UnknownCommandError:
        return False  # its own test tells
    match call:
        case Module("marquee", (name, *_)):
            return name in READ_ONLY and "--help" not in command
    return False


@cache
def told(name: str, command: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
    """Return what a command says of itself; asked once, however often the pages show it."""
    with TemporaryDirectory() as home:
        return subprocess.run(
            [sys.executable, "-m", name, *command, "--help"],
            cwd=ROOT,
            env={**os.environ, "AIRFLOW_HOME": home},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.mark.parametrize("command", [one for one in SHOWN if not is_read_only(one)])
def test_a_shown_command_exists(command: str) -> None:
    match parsed(command):
        case Make() as make:
            assert make.missing((ROOT / "Makefile").read_text()) == set()
        case Module() as module:
            for called in filter(None, (module, module.launcher)):
                done = told(called.name, called.command)
                assert done.returncode == 0, done.stderr
                assert [one for one in called.options if one not in done.stdout] == []


@pytest.mark.parametrize("command", [one for one in SHOWN if is_read_only(one)])
def test_a_shown_command_that_only_reads_answers(
    survived: Survived, marquee: Run, command: str
) -> None:
    workspace = survived.workspace
    first = workspace.lake.refs("interaction_tokens")[0]
    items, _ = EmbeddingClient(workspace.root / "store").pin().all_items()
    readers = {"USER": users_of([workspace.lake.path(first)])[0], "ITEM": items[0]}
    call = parsed(command)
    assert isinstance(call, Module)
    arguments = [readers.get(one, one) for one in call.arguments]
    done = marquee(*arguments, "--workspace", workspace.root.name)
    assert done.returncode == 0, done.stdout + done.stderr


def test_commands_are_found_wherever_a_page_shows_them() -> None:
    page = """Run `make one`, or `.venv/bin/marquee
status`; `lake/` and `python` are no commands.

    python -m six --seven

```sh
# a comment
make two FILE=<a file>   # another
$ marquee three \\
    --four 4

```

```text
  make five             what it does
  and no command
```
"""
    assert list(commands(page)) == [
        "make two FILE=<a file>",
        "marquee three --four 4",
        "make five",
        "python -m six --seven",
        "make one",
        ".venv/bin/marquee status",
    ]


def test_what_a_command_calls() -> None:
    assert parsed("make demo DATA=<a folder>") == Make(("demo",), ("DATA",))
    assert parsed("HOME=x .venv/bin/marquee run <day> --job j") == Module(
        "marquee", ("run", "VALUE", "--job", "j")
    )
    assert parsed(".venv/bin/python -m training tiny") == Module("training", ("tiny",))
    assert Module("marquee", ("run", "--job=j", "--by", "x")).options == ("--job", "--by")


def test_a_target_that_is_not_there_is_told() -> None:
    makefile = "MODE ?= x\ndemo: ready ## Run it\nhidden:\n\ttrue\n"
    assert Make(("demo",), ("MODE",)).missing(makefile) == set()
    assert Make(("gone", "hidden"), ("OTHER",)).missing(makefile) == {"gone", "hidden", "OTHER"}


@pytest.mark.parametrize("command", ["rm -rf x", "docker compose up", "python script.py", "dg dev"])
def test_a_command_that_nobody_proves_is_refused(command: str) -> None:
    with pytest.raises(UnknownCommandError, match="teach"):
        parsed(command)


def test_the_pages_show_commands() -> None:
    assert {"make demo", "make test"} <= set(SHOWN)
