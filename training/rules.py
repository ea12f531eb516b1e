"""Row rules: which raw events are valid, which are quarantined and why, which are repeats.

::

    raw rows ──► repeats dropped ──► row rules, in order ──► one row per event_id ──► valid
                     │                    │                          │
                num_duplicates       quarantined, with the name of the first rule broken

Laws: rows in = valid + quarantined + duplicates; any order, repetition or split of the rows gives
the same valid rows in the same order.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pyarrow as pa

from training.content_hash import content_ids
from training.errors import ContractError
from training.schema import EventSchema, FacetKind
from training.sets import sorted_sets

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far a device's clock may run ahead of ours before an event "occurred after it arrived"."""

CONFLICT_RULE = "one content per event_id"


@dataclass(frozen=True, slots=True)
class SplitEvents:
    """A day's raw rows, told apart."""

    valid: pa.Table
    """``EventSchema.arrow_schema``, sorted by user, instant and event id; ``event_id`` unique."""

    quarantined: pa.Table
    """The same columns and ``rule``, the first rule broken; sorted by rule and event id."""

    num_duplicates: int
    """Repeats that were dropped."""

    counts_by_rule: dict[str, int]
    """Quarantined rows of every rule, in the order the rules are tried; zeros included."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A predicate that every valid row satisfies; null counts as broken."""

    name: str
    holds: pl.Expr


def split_events(
    raw: pa.Table, *, schema: EventSchema, day: date, catalogue: pa.Table
) -> SplitEvents:
    """Tell a day's raw rows apart.

    A row without ``event_id`` gets the hash of its content (all columns but ``received_at``). Rows
    of one id and one content are one event: the one received first stays. Rows of one id whose
    contents differ are not: the valid one received first stays, the others are quarantined.

    Raises ContractError where columns are missing, too many or of another type.
    """
    check_columns(raw, schema)
    rows = _prepared(raw, schema)
    distinct = _without_repeats(rows, schema)
    launches = _launches(catalogue)
    judged = distinct.join(launches, on="item_id", how="left", maintain_order="left").with_columns(
        rule=_first_broken(row_rules(schema, day))
    )
    sound = judged.filter(pl.col("rule").is_null())
    is_first = pl.col("event_id").is_first_distinct()
    valid = sound.filter(is_first)
    conflicting = sound.filter(~is_first).with_columns(rule=pl.lit(CONFLICT_RULE))
    broken = pl.concat([judged.filter(pl.col("rule").is_not_null()), conflicting])
    counted = dict(broken["rule"].value_counts().iter_rows())
    return SplitEvents(
        valid=_valid_table(valid, schema),
        quarantined=_quarantined_table(broken, schema),
        num_duplicates=rows.height - distinct.height,
        counts_by_rule={name: counted.get(name, 0) for name in rule_names(schema)},
    )


def check_columns(events: pa.Table, schema: EventSchema) -> None:
    """Raise ContractError, naming the first column at fault, unless columns match the schema."""
    want, got = schema.arrow_schema, events.schema
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


def row_rules(schema: EventSchema, day: date) -> list[_Rule]:
    """Return the rules in the order they are tried."""
    begins = datetime(day.year, day.month, day.day, tzinfo=UTC)
    occurred, received = pl.col("occurred_at"), pl.col("received_at")
    actions = [action.name for action in schema.actions]
    # an empty user_id is the name of the vector of users without history
    filled: dict[str, pl.Expr] = {
        "user_id": pl.col("user_id").str.len_bytes() > 0,
        "item_id": pl.col("item_id").str.len_bytes() > 0,
        "action": pl.col("action").is_not_null(),
        "occurred_at": occurred.is_not_null(),
        "received_at": received.is_not_null(),
    }
    return [
        *(_Rule(f"{name} is filled", holds) for name, holds in filled.items()),
        _Rule("action is known", pl.col("action").is_in(actions)),
        _Rule(
            "occurred on the day", (occurred >= begins) & (occurred < begins + timedelta(days=1))
        ),
        _Rule("occurred before it was received", occurred <= received + CLOCK_TOLERANCE),
        _Rule("item is in the catalogue", pl.col("_launched_at").is_not_null()),
        _Rule("item was launched", pl.col("_launched_at") <= occurred),
        *_facet_rules(schema),
    ]


def _facet_rules(schema: EventSchema) -> list[_Rule]:
    """A facet may be null, but what is there must make sense."""
    rules = []
    for facet in schema.facets:
        column = pl.col(facet.name)
        if facet.kind is FacetKind.DURATION:
            rules.append(_Rule(f"{facet.name} is not negative", column.fill_null(0) >= 0))
        elif facet.kind is FacetKind.NUMERIC:
            rules.append(_Rule(f"{facet.name} is finite", column.fill_null(0.0).is_finite()))
    return rules


def rule_names(schema: EventSchema) -> list[str]:
    """Return the names of all rules of a schema, in the order they are tried."""
    return [*(rule.name for rule in row_rules(schema, date(1970, 1, 1))), CONFLICT_RULE]


def _prepared(raw: pa.Table, schema: EventSchema) -> pl.DataFrame:
    """Fill missing event ids with the hash of the row's content.

    Values that mean the same get one form (sets are sorted, minus zero is zero): rows of equal
    content are then equal, and it does not matter which one of them stays.
    """
    rows = pl.from_arrow(raw)
    assert isinstance(rows, pl.DataFrame)
    rows = rows.with_columns(
        *(
            # not "+ 0.0": polars 2.1 takes that for the identity
            pl.when(pl.col(f.name) == 0.0).then(0.0).otherwise(pl.col(f.name)).alias(f.name)
            for f in schema.facets
            if f.kind is FacetKind.NUMERIC
        ),
        *(
            sorted_sets(rows[f.name])
            for f in schema.facets
            if f.kind is FacetKind.MULTI_CATEGORICAL
        ),
    )
    has_id = rows["event_id"].str.len_bytes().fill_null(0) > 0
    nameless = rows.filter(~has_id)
    named = nameless.with_columns(event_id=_contents(nameless, schema))
    return pl.concat([rows.filter(has_id), named])


def _without_repeats(rows: pl.DataFrame, schema: EventSchema) -> pl.DataFrame:
    """Drop rows of one id and one content, the one received first excepted.

    Rows of one id stand in order of arrival. Contents are compared, and computed, only where an id
    occurs more than once: ``_content`` is null elsewhere.
    """
    is_repeated = rows["event_id"].is_duplicated()
    repeated = rows.filter(is_repeated)
    distinct = (
        repeated.with_columns(_content=_contents(repeated, schema))
        .sort("event_id", "received_at", "_content", nulls_last=True)
        .unique(["event_id", "_content"], keep="first", maintain_order=True)
    )
    alone = rows.filter(~is_repeated).with_columns(_content=pl.lit(None, pl.String))
    return pl.concat([alone, distinct])


def _contents(rows: pl.DataFrame, schema: EventSchema) -> pl.Series:
    """Return the hash of each row's content: all that it says but its id and its arrival."""
    names = [name for name in schema.arrow_schema.names if name not in {"event_id", "received_at"}]
    return pl.Series(content_ids(rows.select(names).to_arrow()), dtype=pl.String)


def _launches(catalogue: pa.Table) -> pl.DataFrame:
    """Return the instant from which each item of the catalogue may be met."""
    rows = pl.from_arrow(catalogue.select(["item_id", "valid_from"]))
    assert isinstance(rows, pl.DataFrame)
    return rows.group_by("item_id").agg(_launched_at=pl.col("valid_from").min())


def _first_broken(rules: list[_Rule]) -> pl.Expr:
    names = [pl.when(~rule.holds.fill_null(value=False)).then(pl.lit(rule.name)) for rule in rules]
    return pl.coalesce(names)


def _valid_table(rows: pl.DataFrame, schema: EventSchema) -> pa.Table:
    ordered = rows.sort("user_id", "occurred_at", "event_id")
    return _arrow(ordered, schema.arrow_schema)


def _quarantined_table(rows: pl.DataFrame, schema: EventSchema) -> pa.Table:
    ordered = rows.sort("rule", "event_id", "received_at", "_content")
    return _arrow(ordered, schema.arrow_schema.append(pa.field("rule", pa.string())))


def _arrow(rows: pl.DataFrame, columns: pa.Schema) -> pa.Table:
    return rows.select(columns.names).to_arrow().cast(columns).combine_chunks()
