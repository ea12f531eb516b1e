"""Which raw events are valid, which are quarantined and why, which are repeats.

::

    raw rows ──► repeats dropped ──► row rules, in order ──► one row per event_id ──► valid
                     │                    │                          │
                num_duplicates       quarantined, with the name of the first rule broken

Laws: rows in = valid + quarantined + duplicates; any order, repetition or split of the rows gives
the same valid rows in the same order.
"""

from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.days import start_of
from training.codes import Column, plain, plain_schema, sorted_codes
from training.contracts import Int32, Int64
from training.errors import ContractError
from training.repeats import contents, find_repeats, prepared
from training.row_rules import Bool, Launches, Rows, first_broken, row_rules
from training.schema import EventSchema

CONFLICT_RULE = "one content per event_id"

_SOME_DAY = date(1970, 1, 1)
_US_BITS = 37
"""The microseconds of a day fit; 27 bits are left for the users of a bucket."""


@dataclass(frozen=True, kw_only=True)
class SplitEvents:
    """A day's raw rows, told apart; tables of them are made when they are asked for."""

    schema: EventSchema
    day: date | None
    rows: pa.Table
    """Every row, with its id."""
    broken: Int32
    """Position of the first rule that each row breaks, -1 for none."""
    is_kept: Bool
    """Rows that are no copies, of those to be told apart."""
    num_duplicates: int
    """Repeats that were dropped."""

    @cached_property
    def coded_valid(self) -> pa.Table:
        """Valid rows by user, instant and event id; texts may be dictionaries, as they were."""
        return _in_order(self.rows, np.flatnonzero(self.is_kept & (self.broken < 0)), self.day)

    @cached_property
    def valid(self) -> pa.Table:
        """Valid rows, ``EventSchema.arrow_schema``; ``event_id`` is unique."""
        return plain(self.coded_valid)

    @cached_property
    def quarantined(self) -> pa.Table:
        """``EventSchema.arrow_schema`` and ``rule``, the first rule broken; by rule and id."""
        rejected, names = np.flatnonzero(self.is_rejected), rule_names(self.schema)
        rules = pa.array([names[code] for code in self.broken[rejected]], pa.string())
        table = plain(self.rows.take(rejected)).append_column("rule", rules)
        return _by_rule(table, self.schema)

    @property
    def is_rejected(self) -> Bool:
        """Whether each row is quarantined."""
        return self.is_kept & (self.broken >= 0)

    @property
    def counts_by_rule(self) -> dict[str, int]:
        """Quarantined rows of every rule, in the order the rules are tried; zeros included."""
        names = rule_names(self.schema)
        counts = np.bincount(self.broken[self.is_rejected], minlength=len(names))
        return dict(zip(names, counts.tolist(), strict=True))


def split_events(
    raw: pa.Table, *, schema: EventSchema, day: date | None, catalogue: pa.Table
) -> SplitEvents:
    """Tell a day's raw rows apart, or those of any days; texts may be dictionaries.

    A row without ``event_id`` gets the hash of its content (all columns but ``received_at``). Rows
    of one id and one content are one event: the one received first stays. Rows of one id whose
    contents differ are not: the valid one received first stays, the others are quarantined.

    Raises ContractError where columns are missing, too many or of another type.
    """
    return split_rows(raw, schema=schema, day=day, launches=Launches.of(catalogue))


def split_rows(
    raw: pa.Table,
    *,
    schema: EventSchema,
    day: date | None,
    launches: Launches,
    num_own: int | None = None,
) -> SplitEvents:
    """Tell rows apart as ``split_events`` does; of a bucket's, those after ``num_own`` are others'.

    They may share an id with rows of the bucket, and keep them from staying; their own bucket
    accounts for them.
    """
    check_columns(raw, schema)
    rows = prepared(raw, schema)
    repeats = find_repeats(rows, schema)
    rules = row_rules(schema, day)
    broken = first_broken(Rows(rows, launches), rules)
    broken[repeats.conflicting(broken < 0)] = len(rules)
    own = rows.num_rows if num_own is None else num_own
    is_kept = np.arange(rows.num_rows) < own
    is_kept[repeats.copies] = False
    return SplitEvents(
        schema=schema,
        day=day,
        rows=rows,
        broken=broken,
        is_kept=is_kept,
        num_duplicates=int((repeats.copies < own).sum()),
    )


def check_columns(events: pa.Table, schema: EventSchema) -> None:
    """Raise ContractError, naming the first column at fault, unless columns match the schema."""
    want, got = schema.arrow_schema, plain_schema(events.schema)
    if got.equals(want):
        return
    for field in want:
        if field.name not in got.names:
            _refuse(schema, f"column {field.name!r} is missing", want, got)
        if got.names.count(field.name) > 1:
            _refuse(schema, f"column {field.name!r} repeats", want, got)
        found = got.field(field.name).type
        if found != field.type:
            _refuse(schema, f"column {field.name!r}: want {field.type}, got {found}", want, got)
    for name in got.names:
        if name not in want.names:
            _refuse(schema, f"column {name!r} is not in the schema", want, got)
    if got.names != want.names:
        _refuse(schema, "columns stand in another order", want, got)


def _refuse(schema: EventSchema, fault: str, want: pa.Schema, got: pa.Schema) -> None:
    def shown(columns: pa.Schema) -> str:
        return ", ".join(f"{field.name} {field.type}" for field in columns)

    raise ContractError(
        f"events of {schema.name}: {fault}; want [{shown(want)}], got [{shown(got)}]"
    )


def rule_names(schema: EventSchema) -> list[str]:
    """Return the names of all rules of a schema, in the order they are tried."""
    return [*(rule.name for rule in row_rules(schema, _SOME_DAY)), CONFLICT_RULE]


def _in_order(rows: pa.Table, valid: Int64, day: date | None) -> pa.Table:
    """Return the rows at ``valid`` by user, instant and event id."""
    key = _user_and_instant(rows, valid, day)
    by_key = np.argsort(key)
    order, is_tied = valid[by_key], _equals_a_neighbour(key[by_key])
    if is_tied.any():
        order[is_tied] = _by_id(key[by_key][is_tied], order[is_tied], rows)
    return rows.take(order).combine_chunks()


def _user_and_instant(rows: pa.Table, valid: Int64, day: date | None) -> Int64:
    """Return one number per row at ``valid`` that orders rows by user and then by instant."""
    _, user = sorted_codes(rows["user_id"])
    occurred = rows["occurred_at"].cast(pa.int64()).combine_chunks().fill_null(0).to_numpy()
    if day is None:  # years of microseconds leave too few bits: count the instants that occur
        _, instant = np.unique(occurred[valid], return_inverse=True)
    else:
        instant = occurred[valid] - int(start_of(day.isoformat()).timestamp()) * 1_000_000
    return (user[valid].astype(np.int64) << _US_BITS) | instant


def _equals_a_neighbour(values: Int64) -> Bool:
    is_next = values[1:] == values[:-1]
    found = np.zeros(len(values), dtype=bool)
    found[1:] |= is_next
    found[:-1] |= is_next
    return found


def _by_id(key: Int64, tied: Int64, rows: pa.Table) -> Int64:
    """Return rows, which stand by key, by key and event id."""
    ids: Column = rows["event_id"].combine_chunks().take(pa.array(tied, pa.int64()))
    order = pc.sort_indices(
        pa.table({"key": pa.array(key, pa.int64()), "event_id": ids}),
        sort_keys=[("key", "ascending"), ("event_id", "ascending")],
    )
    sorted_rows: Int64 = tied[order.to_numpy()]
    return sorted_rows


def _by_rule(quarantined: pa.Table, schema: EventSchema) -> pa.Table:
    """Return rows by rule, id, arrival and content."""
    if not quarantined.num_rows:
        return quarantined
    frame = pl.from_arrow(quarantined.select(["rule", "event_id", "received_at"]))
    assert isinstance(frame, pl.DataFrame)
    content = pl.Series("content", contents(quarantined, schema))
    order = frame.with_columns(content).with_row_index("row").sort(pl.all().exclude("row"))["row"]
    return quarantined.take(order.to_arrow()).combine_chunks()
