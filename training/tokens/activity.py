"""Who was active: the users of token folders, without reading their tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from training.tokens.partial import open_bucket


def users_of(token_folders: Sequence[Path]) -> list[str]:
    """Return the users with at least one token in any of the folders, sorted."""
    columns = [
        open_bucket(path)["user_id"]
        for folder in token_folders
        for path in sorted(folder.glob("tokens-*.arrow"))
    ]
    users: list[Any] = pa.chunked_array(columns, pa.string()).unique().to_pylist()
    return sorted(users)
