"""Figures of a day of events that its statistical checks judge, streamed: no day is ever a table.

::

    events ──┬──► nulls, extremes, counts by value and hour     of every row
             └──► sample ──► spread of numbers, delays, sets    of 100,000 rows, by hash of event id

All copies of one event id have one hash: they are in the sample together or not at all, so a sample
without repetitions speaks for the ids of the whole day.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import polars as pl

from training.schema import EventSchema, FacetKind

FORMAT_VERSION = 1

SAMPLE_ROWS = 100_000
"""Expected rows of a sample; a smaller day is taken whole. A share of a percent is then known to
within 0.06 percentage points (95 %)."""

MAX_VALUES = 100
"""Values of a category that are counted by name, the commonest; the rest counts as ``OTHERS``."""

OTHERS = "(others)"
"""Values beyond the commonest, and null."""

_HASHES = 1 << 64
_STEPS_PER_OCTAVE = 4  # bins of 19 %: DDSketch (Masson et al., VLDB 2019) with this accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class DayAggregates:
    """What a day's events are like, without any of them."""

    rows: int
    users: int
    """Different users: what chance does to shares goes by them, as one user's events are alike."""

    nulls: Mapping[str, int]
    """Rows without a value, by column; columns that are missing, or of another type, have none."""

    numbers: Mapping[str, tuple[float | None, float | None]]
    """Smallest and largest finite value, by numeric facet or duration."""

    not_finite: Mapping[str, int]
    """Values that are no finite number, by numeric facet."""

    instants: Mapping[str, tuple[datetime | None, datetime | None]]
    """First and last, by column of instants."""

    counts: Mapping[str, Mapping[str, int]]
    """Rows by value, the commonest first: of ``action``, ``hour`` (UTC) and categorical facets; of
    sets the members, in the sample."""

    spreads: Mapping[str, Mapping[str, int]]
    """Sampled values by lower end of their bin, by numeric facet or duration."""

    min_delay_s: float | None
    """Least time from an occurrence to its arrival; negative where a clock runs ahead."""

    delay_p95_s: float | None
    """What 95 % of the sampled events arrived within, after they had occurred."""

    def null_share(self, column: str) -> float | None:
        """Return the share of rows without a value; None without rows or without the column."""
        nulls = self.nulls.get(column)
        return nulls / self.rows if nulls is not None and self.rows else None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        instants = {
            name: [one and one.isoformat() for one in both] for name, both in self.instants.items()
        }
        return {"format_version": FORMAT_VERSION, **asdict(self), "instants": instants}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "DayAggregates":
        """Read what ``to_json`` returned."""
        given = {name: one for name, one in value.items() if name != "format_version"}
        given["instants"] = {
            name: tuple(one and datetime.fromisoformat(one) for one in both)
            for name, both in given["instants"].items()
        }
        given["numbers"] = {name: tuple(both) for name, both in given["numbers"].items()}
        return cls(**given)


def sample_of(events: pl.LazyFrame, *, rows: int = SAMPLE_ROWS) -> pl.DataFrame:
    """Return about ``rows`` events, drawn by the hash of the event id; all, if there are fewer."""
    total = events.select(pl.len()).collect().item()
    if total <= rows:
        return events.collect()
    if "event_id" not in events.collect_schema().names():
        return events.head(rows).collect()
    is_drawn = pl.col("event_id").hash(0) < pl.lit(int(rows / total * _HASHES), pl.UInt64)
    return events.filter(is_drawn).collect(engine="streaming")


def aggregates_of(events: pl.LazyFrame, schema: EventSchema, sample: pl.DataFrame) -> DayAggregates:
    """Return the figures of a day's events, of which ``sample`` is one by ``sample_of``."""
    there = present_columns(events, schema)
    of_kind = {
        kind: [one.name for one in schema.facets if one.kind is kind and one.name in there]
        for kind in FacetKind
    }
    numeric = [*of_kind[FacetKind.NUMERIC], *of_kind[FacetKind.DURATION]]
    instants: list[str] = [name for name in ("occurred_at", "received_at") if name in there]
    instants += of_kind[FacetKind.INSTANT]
    named = [*(["action"] if "action" in there else []), *of_kind[FacetKind.CATEGORICAL]]
    keys = {name: pl.col(name) for name in named}
    if "occurred_at" in there:
        keys["hour"] = pl.col("occurred_at").dt.hour()
    scalars = events.select(_scalars(there, numeric, of_kind[FacetKind.NUMERIC], instants)).collect(
        engine="streaming"
    )
    # one after the other: together they would keep what they read in common, a day of columns
    groups = [
        events.group_by(value=key).agg(n=pl.len()).collect(engine="streaming")
        for key in keys.values()
    ]
    found = scalars.row(0, named=True)
    counts = {name: _counts(group) for name, group in zip(keys, groups, strict=True)}
    for name in of_kind[FacetKind.MULTI_CATEGORICAL]:
        members = sample.select(value=pl.col(name).list.explode()).group_by("value")
        counts[name] = _counts(members.agg(n=pl.len()))
    return DayAggregates(
        rows=found["rows"],
        users=found.get("users", 0),
        nulls={name: found[f"{name} nulls"] for name in there},
        numbers={name: (found[f"{name} min"], found[f"{name} max"]) for name in numeric},
        not_finite={name: found[f"{name} odd"] for name in of_kind[FacetKind.NUMERIC]},
        instants={name: (found[f"{name} min"], found[f"{name} max"]) for name in instants},
        counts=counts,
        spreads={name: _spread(sample[name]) for name in numeric},
        min_delay_s=found.get("delay"),
        delay_p95_s=_delay_p95_s(sample, there),
    )


def present_columns(events: pl.LazyFrame, schema: EventSchema) -> list[str]:
    """Return the schema's columns that are there in the right type."""
    got, want = events.collect_schema(), polars_types(schema)
    return [name for name, kind in want.items() if got.get(name) == kind]


def polars_types(schema: EventSchema) -> dict[str, pl.DataType]:
    """Return the types of a schema's columns."""
    empty = pl.from_arrow(schema.arrow_schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    return dict(empty.schema)


def _scalars(
    there: Sequence[str], numeric: Sequence[str], real: Sequence[str], instants: Sequence[str]
) -> list[pl.Expr]:
    made = [
        pl.len().alias("rows"),
        *(pl.col(name).null_count().alias(f"{name} nulls") for name in there),
    ]
    if "user_id" in there:
        made.append(pl.col("user_id").n_unique().alias("users"))
    for name in numeric:
        value = pl.col(name).cast(pl.Float64)
        finite = pl.when(value.is_finite()).then(value)
        made += [finite.min().alias(f"{name} min"), finite.max().alias(f"{name} max")]
    made += [(~pl.col(name).is_finite()).sum().alias(f"{name} odd") for name in real]
    for name in instants:
        made += [pl.col(name).min().alias(f"{name} min"), pl.col(name).max().alias(f"{name} max")]
    if {"occurred_at", "received_at"} <= set(there):
        made.append(_delay_s().min().alias("delay"))
    return made


def _delay_s() -> pl.Expr:
    return (pl.col("received_at") - pl.col("occurred_at")).dt.total_microseconds() / 1e6


def _delay_p95_s(sample: pl.DataFrame, there: Sequence[str]) -> float | None:
    if not {"occurred_at", "received_at"} <= set(there):
        return None
    p95: float | None = sample.select(_delay_s().quantile(0.95, "higher")).item()
    return p95


def _counts(group: pl.DataFrame) -> dict[str, int]:
    """Return rows by value, the commonest ones by name; null counts only towards ``OTHERS``."""
    given = group.filter(pl.col("value").is_not_null()).with_columns(
        pl.col("value").cast(pl.String)
    )
    ordered = given.sort(["n", "value"], descending=[True, False])
    counted = dict(ordered.head(MAX_VALUES).iter_rows())
    if rest := sum(ordered["n"][MAX_VALUES:]):
        counted[OTHERS] = rest
    return counted


def _spread(values: "pl.Series") -> dict[str, int]:
    """Return how many values lie in each bin, by its end nearer to zero, in ascending order."""
    value = pl.col("value").cast(pl.Float64)
    step = (value.abs().log(2) * _STEPS_PER_OCTAVE + 1e-9).floor() / _STEPS_PER_OCTAVE
    end = pl.when(value == 0).then(0.0).otherwise(value.sign() * 2.0**step)
    finite = values.alias("value").to_frame().filter(value.is_finite())
    binned = finite.group_by(end=end.round_sig_figs(4)).agg(n=pl.len()).sort("end")
    return {f"{end:g}": n for end, n in binned.iter_rows()}
