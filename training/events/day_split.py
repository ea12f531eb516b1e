"""A file told apart by day: whoever reads many days of it reads it once.

::

    file, in any order ──► half a million rows at a time, by day ──► one file without a name
                                                                     <day> ──► where its parts lie
"""

import io
import os
import tempfile
import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import polars as pl

_ROWS_AT_ONCE = 1 << 19
"""Rows held before they are written: some hundred MB of a wide log."""
_DAY = "__day__"


class DaySplit:
    """The rows of one file by day, in a file that nobody else can open.

    It never has a name that outlives its making, so whatever ends the process ends it, and rows of
    erased users are in no folder that an erasure would have to search.
    """

    def __init__(
        self, frames: Iterable[pl.DataFrame], occurred: pl.Expr, *, cache: Path | None
    ) -> None:
        """Take the file's rows; those without an instant belong to no day.

        They lie on the disk of ``cache``; without one on that of the system's temporary files.
        """
        if cache is not None:
            cache.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=cache, prefix=".days-")  # noqa: SIM115 - open while this object lives
        weakref.finalize(self, self._file.close)
        self._parts = defaultdict[date, list[tuple[int, int]]](list)
        for rows in _chunks(frames):
            dated = rows.with_columns(occurred.dt.date().alias(_DAY))
            parts = dated.filter(pl.col(_DAY).is_not_null()).partition_by(
                _DAY, as_dict=True, include_key=False
            )
            for (day,), part in parts.items():
                assert isinstance(day, date)
                written = io.BytesIO()
                part.write_ipc(written, compression="lz4")
                data = written.getbuffer()
                self._parts[day].append((self._file.tell(), data.nbytes))
                self._file.write(data)
        self._file.flush()

    def rows(self, day: date) -> pl.DataFrame:
        """Return the rows of a day that has some, in the file's order."""
        file = self._file.fileno()
        return pl.concat(
            pl.read_ipc(os.pread(file, num_bytes, start)) for start, num_bytes in self._parts[day]
        )


def _chunks(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    held: list[pl.DataFrame] = []
    for rows in frames:
        held.append(rows)
        if sum(one.height for one in held) >= _ROWS_AT_ONCE:
            yield pl.concat(held)
            held = []
    if held:
        yield pl.concat(held)
