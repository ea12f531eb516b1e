"""Published data sets that a mapping reads: only the folder of their files is left to say."""

import tomllib
from pathlib import Path

from training.events.mapping import LogMapping
from training.events.mapping_file import mapping_from

PUBLISHED = ("movielens-1m", "movietweetings")

_MAPPINGS = Path(__file__).parent / "published"


def published_mapping(name: str, folder: Path) -> LogMapping:
    """Return the mapping of a data set of ``PUBLISHED`` whose files lie in ``folder``."""
    text = (_MAPPINGS / f"{name}.toml").read_text(encoding="utf-8")
    return mapping_from(tomllib.loads(text), folder=folder.resolve())
