"""Replays a workspace that stands, as ``marquee demo`` does, in a process of its own."""

import sys
from pathlib import Path

from assets.workspace import Workspace
from marquee.cli import describe
from marquee.demo import run_demo
from marquee.errors import expected

if __name__ == "__main__":
    try:
        run_demo(Workspace.open(Path(sys.argv[1])))
    except expected() as error:
        sys.exit(f"error: {describe(error)}")
