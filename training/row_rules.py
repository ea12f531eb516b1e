"""The rules that every row of events must keep, in the order in which they are tried."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.days import start_of
from training.codes import Column, coded, of_each_row
from training.contracts import Int32, Int64
from training.schema import EventSchema, FacetKind

Bool = npt.NDArray[np.bool_]

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far a device's clock may run ahead of ours before an event "occurred after it arrived"."""

_MISSING = np.iinfo(np.int64).min
_NEVER = np.iinfo(np.int64).max
_MICROSECOND = timedelta(microseconds=1)
_DAY_US = timedelta(days=1) // _MICROSECOND


@dataclass(frozen=True, slots=True)
class Launches:
    """From when on each item of a catalogue may be met."""

    items: pa.StringArray
    at_us: Int64

    @classmethod
    def of(cls, catalogue: pa.Table) -> "Launches":
        """Return the first instant at which each item is valid."""
        rows = pl.from_arrow(catalogue.select(["item_id", "valid_from"]))
        assert isinstance(rows, pl.DataFrame)
        first = rows.group_by("item_id").agg(pl.col("valid_from").min().to_physical())
        items: Column = first["item_id"].to_arrow().cast(pa.string())
        return cls(items, first["valid_from"].to_numpy())


class Rows:
    """Raw rows, column by column, as arrays of one entry per row."""

    def __init__(self, table: pa.Table, launches: Launches) -> None:
        """Take rows in the columns of a schema; texts may be dictionaries."""
        self._table = table
        self._launches = launches
        self._coded: dict[str, tuple[pa.StringArray, Int32]] = {}

    def text(self, name: str) -> tuple[pa.StringArray, Int32]:
        """Return the distinct values of a text column and the code of each row."""
        if name not in self._coded:
            self._coded[name] = coded(self._table[name])
        return self._coded[name]

    def text_is(self, name: str, holds: Callable[[pa.StringArray], Column]) -> Bool:
        """Return whether each row's text satisfies a predicate; null does not."""
        values, codes = self.text(name)
        of_values = holds(values).to_numpy(zero_copy_only=False)
        return of_each_row(of_values, codes, missing=False)

    def instant_us(self, name: str) -> Int64:
        """Return instants; the least int64 where they are null."""
        return self._filled(self._table[name].cast(pa.int64()), _MISSING)

    def number(self, name: str) -> npt.NDArray[Any]:
        """Return numbers, 0 where they are null."""
        return self._filled(self._table[name], 0)

    def launched_us(self) -> Int64:
        """Return when each row's item was launched; the greatest int64 where it is unknown."""
        values, codes = self.text("item_id")
        found: Column = pc.index_in(values, value_set=self._launches.items)
        of_items = np.append(self._launches.at_us, _NEVER)
        of_values = of_items[found.fill_null(-1).to_numpy()]
        launched: Int64 = of_each_row(of_values, codes, missing=_NEVER)
        return launched

    def _filled(self, column: Column, missing: int) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = column.combine_chunks().fill_null(missing).to_numpy()
        return array


@dataclass(frozen=True, slots=True)
class RowRule:
    """A predicate that every valid row satisfies."""

    name: str
    holds: Callable[[Rows], Bool]
    """Returns bool[N]; what is null does not hold."""


def row_rules(schema: EventSchema, day: date | None) -> tuple[RowRule, ...]:
    """Return the rules in the order they are tried; without a day, any day will do."""
    begins = int(start_of(day.isoformat()).timestamp()) * 1_000_000 if day else _MISSING
    ends = begins + _DAY_US if day else _NEVER
    tolerance = CLOCK_TOLERANCE // _MICROSECOND
    actions = pa.array([action.name for action in schema.actions], pa.string())

    def is_known(values: pa.StringArray) -> Column:
        return pc.is_in(values, value_set=actions)

    def is_of_day(rows: Rows) -> Bool:
        occurred = rows.instant_us("occurred_at")
        return (occurred >= begins) & (occurred < ends)

    def is_in_order(rows: Rows) -> Bool:
        return rows.instant_us("occurred_at") - tolerance <= rows.instant_us("received_at")

    return (
        # an empty user_id is the name of the vector of users without history
        RowRule("user_id is filled", lambda rows: rows.text_is("user_id", _has_letters)),
        RowRule("item_id is filled", lambda rows: rows.text_is("item_id", _has_letters)),
        RowRule("action is filled", lambda rows: rows.text("action")[1] >= 0),
        RowRule("occurred_at is filled", lambda rows: rows.instant_us("occurred_at") != _MISSING),
        RowRule("received_at is filled", lambda rows: rows.instant_us("received_at") != _MISSING),
        RowRule("action is known", lambda rows: rows.text_is("action", is_known)),
        RowRule("occurred on the day", is_of_day),
        RowRule("occurred before it was received", is_in_order),
        RowRule("item is in the catalogue", lambda rows: rows.launched_us() != _NEVER),
        RowRule(
            "item was launched", lambda rows: rows.launched_us() <= rows.instant_us("occurred_at")
        ),
        *_facet_rules(schema),
    )


def first_broken(rows: Rows, rules: tuple[RowRule, ...]) -> Int32:
    """Return the position of the first rule that each row breaks, int32[N]; -1 for none."""
    broken: Int32 | None = None
    for position, rule in reversed(list(enumerate(rules))):
        holds = rule.holds(rows)
        if broken is None:
            broken = np.full(len(holds), -1, dtype=np.int32)
        broken[~holds] = position
    assert broken is not None
    return broken


def _has_letters(values: pa.StringArray) -> Column:
    return pc.greater(pc.binary_length(values), pa.scalar(0))


def _facet_rules(schema: EventSchema) -> list[RowRule]:
    """A facet may be null, but what is there must make sense."""
    return [
        RowRule(f"{facet.name} {promise}", _holds(facet.name, test))
        for facet in schema.facets
        for kind, promise, test in (
            (FacetKind.DURATION, "is not negative", lambda values: values >= 0),
            (FacetKind.NUMERIC, "is finite", np.isfinite),
        )
        if facet.kind is kind
    ]


def _holds(name: str, test: Callable[[npt.NDArray[Any]], Bool]) -> Callable[[Rows], Bool]:
    return lambda rows: test(rows.number(name))
