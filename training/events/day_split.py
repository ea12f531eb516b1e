"""A file told apart by day: whoever reads many days of it reads it once.

::

    file, in any order ──► a few million rows at a time, by day ──► <folder>/<day>/part-<n>.arrow
"""

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import polars as pl

_ROWS_AT_ONCE = 1 << 19
"""Rows held before they are written: some hundred MB of a wide log."""
_DAY = "__day__"


class DaySplit:
    """The rows of one file by day, in a scratch folder that goes with this object."""

    def __init__(self, frames: Iterable[pl.DataFrame], occurred: pl.Expr) -> None:
        """Take the file's rows; those without an instant belong to no day."""
        self._folder = Path(tempfile.mkdtemp(prefix="marquee-days-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        for number, rows in enumerate(_chunks(frames)):
            dated = rows.with_columns(occurred.dt.date().alias(_DAY))
            parts = dated.filter(pl.col(_DAY).is_not_null()).partition_by(
                _DAY, as_dict=True, include_key=False
            )
            for (day,), part in parts.items():
                assert isinstance(day, date)
                folder = self._folder / day.isoformat()
                folder.mkdir(exist_ok=True)
                part.write_ipc(folder / f"part-{number:06d}.arrow", compression="lz4")

    def rows(self, day: date) -> pl.DataFrame | None:
        """Return the rows of a day in the file's order, or None where there is none."""
        parts = sorted((self._folder / day.isoformat()).glob("part-*.arrow"))
        return pl.concat(pl.read_ipc(one) for one in parts) if parts else None


def _chunks(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    held: list[pl.DataFrame] = []
    for rows in frames:
        held.append(rows)
        if sum(one.height for one in held) >= _ROWS_AT_ONCE:
            yield pl.concat(held)
            held = []
    if held:
        yield pl.concat(held)
