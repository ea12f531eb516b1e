"""A file told apart by day: whoever reads many days of it reads it once.

::

    file, in any order ──► half a million rows at a time, by day ──► <folder>/<day>/part-<n>.arrow
"""

import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import polars as pl

from lake.atomic import make_scratch, sweep_scratch
from training.errors import SourceError

_ROWS_AT_ONCE = 1 << 19
"""Rows held before they are written: some hundred MB of a wide log."""
_DAY = "__day__"
_SCRATCH = "days"


def sweep_splits(cache: Path) -> None:
    """Remove the rows below ``cache`` whose process is gone, such as a killed one."""
    sweep_scratch(cache / _SCRATCH)


class DaySplit:
    """The rows of one file by day, in a scratch folder that goes with this object."""

    def __init__(
        self, frames: Iterable[pl.DataFrame], occurred: pl.Expr, *, cache: Path | None
    ) -> None:
        """Take the file's rows; those without an instant belong to no day.

        They lie below ``cache``, where what a killed process left is swept first; without one in
        the system's folder for temporary files.
        """
        if cache is None:
            self._folder = Path(tempfile.mkdtemp(prefix="marquee-days-"))
        else:
            sweep_splits(cache)
            self._folder = make_scratch(cache / _SCRATCH)
        self._counts = Counter[date]()
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
                self._counts[day] += part.height

    def rows(self, day: date) -> pl.DataFrame:
        """Return the rows of a day that has some, in the file's order.

        Raises SourceError where somebody took them away, such as a cleaner of old files.
        """
        parts = sorted((self._folder / day.isoformat()).glob("part-*.arrow"))
        found = [pl.read_ipc(one) for one in parts]
        if not found or sum(one.height for one in found) != self._counts[day]:
            raise SourceError(
                f"{self._folder}: want {self._counts[day]:,} rows of {day}, which this process "
                "wrote there, and some are gone: run again"
            )
        return pl.concat(found)


def _chunks(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    held: list[pl.DataFrame] = []
    for rows in frames:
        held.append(rows)
        if sum(one.height for one in held) >= _ROWS_AT_ONCE:
            yield pl.concat(held)
            held = []
    if held:
        yield pl.concat(held)
