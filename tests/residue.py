"""Finds ids anywhere below a folder: in names, in bytes, in tables and in databases."""

import re
import sqlite3
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def residue(root: Path, ids: Collection[str], *, but: Collection[str] = ()) -> dict[str, int]:
    """Return how often any of the ids occurs, by file; ``but`` are folders right below the root.

    A file is searched as it lies, which finds what a database deleted and did not overwrite; then
    what compression hides is searched decoded.
    """
    wanted = re.compile("|".join(sorted(map(re.escape, ids))).encode())
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if name.parts[0] in but:
            continue
        count = len(wanted.findall(name.as_posix().encode()))
        if path.is_file():
            data = path.read_bytes()
            count += sum(len(wanted.findall(one)) for one in (data, *_decoded(path, data)))
        if count:
            found[name.as_posix()] = count
    return found


def _decoded(path: Path, data: bytes) -> list[bytes]:
    if data.startswith(b"PAR1"):
        return _texts(pq.read_table(path))
    if data.startswith(b"ARROW1"):
        with pa.memory_map(str(path)) as source:
            return _texts(pa.ipc.open_file(source).read_all())
    if data.startswith(b"SQLite format 3"):
        return _rows(path)
    return []


def _texts(table: pa.Table) -> list[bytes]:
    return [repr(column.to_pylist()).encode() for column in table.columns]


def _rows(path: Path) -> list[bytes]:
    """Return every row of every table, also those that are still in the write-ahead log."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master")]
        tables = [
            name
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        rows = [repr(names).encode()]
        for table in tables:
            rows += [repr(row).encode() for row in database.execute(f'SELECT * FROM "{table}"')]
    return rows
