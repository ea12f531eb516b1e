"""What the command line imports before it knows what it was asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SLOW = (
    "assets",
    "embedding_store",
    "pandas",
    "polars",
    "pydantic_settings",
    "feast",
    "torch",
    "dagster",
)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--help"], 0), (["erase", "--help"], 0), (["source", "--help"], 0), (["promote", "x"], 2)],
)
def test_help_and_refusals_load_nothing_slow(
    tmp_path: Path, arguments: list[str], status: int
) -> None:
    script = f"""
import sys
from marquee.cli import main
sys.argv = ["marquee", *{arguments!r}]
assert main() == {status}
print("loaded", [name for name in {SLOW!r} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "MARQUEE_HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded []"


def test_a_filter_that_a_library_adds_later_shows_no_warning() -> None:
    script = """
import warnings

from marquee import cli


def app(*, standalone_mode: bool) -> int:
    warnings.simplefilter("once", DeprecationWarning)
    warnings.warn("theirs", DeprecationWarning)
    return 0


cli.app = app
raise SystemExit(cli.main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
