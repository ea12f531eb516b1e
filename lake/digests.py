"""Digests of content: equal bytes, equal digest; no names of runs, no times.

All digests are sha256 in hex.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 20


def digest_bytes(data: bytes) -> str:
    """Return the sha256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def digest_json(value: Any) -> str:
    """Return the sha256 of the canonical JSON of ``value`` (sorted keys, no spaces)."""
    return digest_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def digest_file(path: Path) -> str:
    """Return the sha256 of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def digest_files(folder: Path) -> Mapping[str, str]:
    """Return the digest of every file below ``folder`` by its relative path, sorted."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest_file(path) for path in files}


def digest_folder(folder: Path) -> str:
    """Return one digest of the names and contents of all files below ``folder``."""
    return digest_json(digest_files(folder))
