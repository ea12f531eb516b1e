"""The commands that the pages show: in fences and blocks, amid shown output, and in the text."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELLS = {"sh", "bash", "shell", "console"}
_INDENTED = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)
_INLINE = re.compile(r"`([^`]+)`")
_STARTS = ("make ", "marquee ", ".venv/bin/", "python ", "torchrun ")
_TARGET = re.compile(r"^([a-z-]+):.*## ", re.MULTILINE)
_VARIABLE = re.compile(r"^(?:export )?([A-Z_]+) \?=", re.MULTILINE)


class UnknownCommandError(Exception):
    """A page shows a command that nothing here knows how to prove."""


def pages() -> list[Path]:
    """Return the pages whose commands must work."""
    names = ("README.md", "CONTRIBUTING.md", "SECURITY.md")
    return [*(ROOT / name for name in names), *sorted((ROOT / "docs").glob("*.md"))]


def commands(page: str) -> Iterator[str]:
    """Yield the commands of a page's text, without comments and prompts."""
    for language, block in _FENCE.findall(page):
        lines = block.replace("\\\n", " ").splitlines()
        if language in _SHELLS:
            stripped = (re.sub(r"(^|\s)#.*", "", line).removeprefix("$ ") for line in lines)
            yield from (_one_line(line) for line in stripped if line.strip())
        else:  # a command amid shown output ends where the columns beside it start
            shown = (re.split(r"\s{2,}", line.strip())[0] for line in lines)
            yield from (line for line in shown if line.startswith(_STARTS))
    text = _FENCE.sub("", page)
    for code in [*_INDENTED.findall(text), *_INLINE.findall(text)]:
        if code.startswith(_STARTS):
            yield _one_line(code)


def _one_line(text: str) -> str:
    return " ".join(text.split())


@dataclass(frozen=True, slots=True)
class Make:
    """A call of make."""

    targets: tuple[str, ...]
    variables: tuple[str, ...]

    def missing(self, makefile: str) -> set[str]:
        """Return what the Makefile neither makes nor reads."""
        return {*self.targets, *self.variables} - {
            *_TARGET.findall(makefile),
            *_VARIABLE.findall(makefile),
        }


@dataclass(frozen=True, slots=True)
class Module:
    """A call of a module; ``marquee`` and ``airflow`` are command lines."""

    name: str
    arguments: tuple[str, ...]
    launcher: "Module | None" = None
    """What starts it on several processes."""

    @property
    def command(self) -> tuple[str, ...]:
        """The words that name one command of a command line; its ``--help`` tells the options."""
        depth = {"marquee": 1, "airflow": 2}.get(self.name, 0)
        if self.name == "marquee" and self.arguments[:1] == ("source",):
            depth = 2  # a group of commands
        return tuple(one for one in self.arguments[:depth] if not one.startswith("--"))

    @property
    def options(self) -> tuple[str, ...]:
        """The options that the call names."""
        return tuple(one.partition("=")[0] for one in self.arguments if one.startswith("--"))


def parsed(command: str) -> Make | Module:
    """Return what a command calls; raises UnknownCommandError."""
    words = shlex.split(re.sub(r"<[^>]*>", "VALUE", command))  # <what a reader puts in>
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    match [word.removeprefix(".venv/bin/") for word in words[:3]]:
        case ["make", *_]:
            given = words[1:]
            return Make(
                tuple(one for one in given if "=" not in one),
                tuple(one.partition("=")[0] for one in given if "=" in one),
            )
        case [("marquee" | "airflow") as name, *_]:
            return Module(name, tuple(words[1:]))
        case ["python", "-m", name]:
            return Module(name, tuple(words[3:]))
        case ["torchrun", *_] if "-m" in words[1:-1]:
            at = words.index("-m")
            launcher = Module("torch.distributed.run", tuple(words[1:at]))
            return Module(words[at + 1], tuple(words[at + 2 :]), launcher)
    raise UnknownCommandError(
        f"{command!r}: teach tests/docs/commands.py how to prove it, or leave it out of the page"
    )
