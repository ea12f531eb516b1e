"""``python -m marquee``: the command line without the launcher in ``.venv/bin``."""

import sys

from marquee.cli import main

if __name__ == "__main__":
    sys.exit(main())
