"""Columns of somebody's own files as the types that events have.

What cannot be read is never passed over: an instant becomes null and so belongs to no day, a number
becomes NaN and a duration -1, which the row rules refuse.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass

from training.errors import SourceError
from training.events.mapping import Condition, DurationUnit, FacetColumn, InstantColumn, TimeUnit
from training.schema import FacetKind

Schema = Mapping[str, pl.DataType]

INSTANT = pl.Datetime("us", "UTC")
UNREADABLE_MS = -1
"""A duration that is no number; no duration is negative."""

# An instant outside these years is a wrong unit or a broken clock.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BOUND = datetime(2100, 1, 1, tzinfo=UTC)
PER_SECOND = {
    TimeUnit.SECONDS: 1,
    TimeUnit.MILLISECONDS: 1_000,
    TimeUnit.MICROSECONDS: 1_000_000,
    TimeUnit.NANOSECONDS: 1_000_000_000,
}
"""How many of a unit are a second, for the units that count."""
_BOUND_S = int((_BOUND - _EPOCH).total_seconds())
_DAY_S = 86_400
_TICKS = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_MAX_MS = 1 << 53  # whole numbers beyond are not exact as float64
_MAX_FLOAT32 = 1 << 24
_ZONE = r"\s*(?:UTC|[Zz]|([+-])(\d{2}):?(\d{2})?)$"
_ISO_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M")


def instants(schema: Schema, spec: InstantColumn) -> pl.Expr:
    """Return the instants of a column, µs UTC, null where there is none between 1970 and 2100.

    Raises:
        SourceError: the unit does not fit the column's type.
    """
    dtype, column = schema[spec.column], pl.col(spec.column)
    is_timestamp = isinstance(dtype, pl.Datetime)
    if is_timestamp != (spec.unit is TimeUnit.TIMESTAMP):
        fit = '"timestamp"' if is_timestamp else "another unit"
        raise SourceError(f"column {spec.column!r} is {dtype}: want {fit}, got {spec.unit.value!r}")
    if is_timestamp:
        assert isinstance(dtype, pl.Datetime)
        found = _of_timestamps(_near(column, dtype), dtype, spec)
    elif spec.unit is TimeUnit.ISO:
        if dtype != pl.String:
            raise SourceError(f"column {spec.column!r} is {dtype}: want text for 'iso'")
        found = _of_text(column, spec.zone)
    else:
        if not (dtype.is_numeric() or dtype == pl.String):
            raise SourceError(f"column {spec.column!r} is {dtype}: want numbers")
        found = _of_numbers(column, dtype, PER_SECOND[spec.unit])
    micros = found.cast(INSTANT).to_physical()  # numbers: polars 2.1 takes long over instants
    in_bounds = micros.is_between(0, _BOUND_S * 1_000_000 - 1)
    return pl.when(in_bounds).then(found).cast(INSTANT)


def _near(column: pl.Expr, dtype: pl.Datetime) -> pl.Expr:
    """Return timestamps within a day of the bounds: others overflow, or have no local time."""
    per_second = _TICKS[dtype.time_unit]
    ticks = column.to_physical()
    is_near = ticks.is_between(-_DAY_S * per_second, (_BOUND_S + _DAY_S) * per_second)
    return pl.when(is_near).then(column)


def _of_timestamps(column: pl.Expr, dtype: pl.Datetime, spec: InstantColumn) -> pl.Expr:
    if dtype.time_zone is None:
        if spec.zone is None:
            raise SourceError(
                f"column {spec.column!r} has no time zone: add zone, such as "
                'zone = "UTC" or zone = "Europe/Vienna"'
            )
        return _in_zone(column.cast(pl.Datetime("us")), spec.zone)
    return column.cast(pl.Datetime("us", dtype.time_zone)).dt.convert_time_zone("UTC")


def _of_numbers(column: pl.Expr, dtype: pl.DataType, per_second: int) -> pl.Expr:
    def scaled(number: pl.Expr) -> pl.Expr:
        if per_second <= 1_000_000:
            return number * (1_000_000 // per_second)
        return number // (per_second // 1_000_000)

    bound = _BOUND_S * per_second  # before scaling, which would overflow
    real = column.cast(pl.Float64, strict=False)
    of_real = pl.when(real.is_between(0, bound)).then(
        scaled(real).round().cast(pl.Int64, strict=False)
    )
    if dtype.is_float():
        return of_real.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    whole = column.cast(pl.Int64, strict=False)
    micros = pl.when(whole.is_between(0, bound)).then(scaled(whole)).otherwise(of_real)
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _of_text(column: pl.Expr, zone: str | None) -> pl.Expr:
    text = column.str.strip_chars()
    has_zone = text.str.contains(_ZONE)
    sign = pl.when(text.str.extract(_ZONE, 1) == "-").then(-1).otherwise(1)
    hours = text.str.extract(_ZONE, 2).cast(pl.Int64).fill_null(0)
    minutes = text.str.extract(_ZONE, 3).cast(pl.Int64).fill_null(0)
    body = text.str.replace(_ZONE, "").str.replace("T", " ", literal=True)
    local = pl.coalesce(
        body.str.to_datetime(form, time_unit="us", strict=False) for form in _ISO_FORMATS
    )
    stated = (local - pl.duration(minutes=sign * (60 * hours + minutes))).dt.replace_time_zone(
        "UTC"
    )
    unstated = _in_zone(local, zone) if zone else pl.lit(None, dtype=INSTANT)
    return pl.when(has_zone).then(stated).otherwise(unstated)


def _in_zone(local: pl.Expr, zone: str) -> pl.Expr:
    """Read local times; in the hour that a clock repeats the first one, none in one it skips."""
    there = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return there.dt.convert_time_zone("UTC")


def identifiers(schema: Schema, column: str) -> pl.Expr:
    """Return ids, or any other words, as text; whole numbers without a decimal point."""
    dtype, value = schema[column], pl.col(column)
    if dtype.is_float():  # whole numbers with nulls, as pandas writes them
        # beyond this, neighbours are one number: an id that was one of many is nobody's
        exact = value.abs() < (_MAX_FLOAT32 if dtype == pl.Float32 else _MAX_MS)
        value = pl.when(exact).then(value)
        whole = value.cast(pl.Int64, strict=False)
        text = pl.when(whole == value).then(whole.cast(pl.String)).otherwise(value.cast(pl.String))
        return pl.when(value.is_not_nan()).then(text)
    _require_one_value(dtype, column)
    return value.cast(pl.String, strict=False)


def _require_one_value(dtype: pl.DataType | DataTypeClass, column: str, per: str = "row") -> None:
    if dtype.is_nested():
        raise SourceError(f"column {column!r} is {dtype}: want one value per {per}")


def durations(schema: Schema, column: str, unit: DurationUnit) -> pl.Expr:
    """Return whole milliseconds, ``UNREADABLE_MS`` where there is a value that is no number."""
    dtype, value = schema[column], pl.col(column)
    if isinstance(dtype, pl.Duration):
        return value.dt.total_milliseconds()
    _require_numbers(dtype, column)
    number = value.cast(pl.Float64, strict=False)
    scaled = (number * unit.milliseconds).round()
    whole = pl.when(scaled.abs() < _MAX_MS).then(scaled).cast(pl.Int64, strict=False)
    return pl.when(_is_given(value, dtype)).then(whole.fill_null(UNREADABLE_MS))


def numbers(schema: Schema, column: str) -> pl.Expr:
    """Return numbers, NaN where there is a value that is none."""
    dtype, value = schema[column], pl.col(column)
    _require_numbers(dtype, column)
    number = value.cast(pl.Float64, strict=False)
    return pl.when(_is_given(value, dtype)).then(number.fill_null(float("nan")))


def _require_numbers(dtype: pl.DataType, column: str) -> None:
    """Refuse what would be cast to numbers that mean something else, such as times."""
    if not (dtype.is_numeric() or dtype in (pl.String, pl.Boolean, pl.Null)):
        raise SourceError(f"column {column!r} is {dtype}: want numbers")


def _is_given(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """In a column of numbers NaN is what many tools write for a missing one."""
    return value.is_not_null() & value.is_not_nan() if dtype.is_float() else value.is_not_null()


def sets(schema: Schema, column: str, separator: str | None) -> pl.Expr:
    """Return sets of words, of a column of lists or of text; null where there is none."""
    dtype, value = schema[column], pl.col(column)
    if isinstance(dtype, (pl.List, pl.Array)):
        _require_one_value(dtype.inner, column, per="member of a list")
        return value.cast(pl.List(pl.String))
    _require_one_value(dtype, column)
    text = value.cast(pl.String, strict=False)
    if separator is None:
        return pl.when(text.is_not_null()).then(pl.concat_list(text))
    parts = text.str.split(separator).list.eval(pl.element().str.strip_chars())
    members = parts.list.eval(pl.element().filter(pl.element() != ""))
    return pl.when(members.list.len() > 0).then(members)


def facet(schema: Schema, spec: FacetColumn) -> pl.Expr:
    """Return a facet's values in the type of its kind."""
    match spec.facet.kind:
        case FacetKind.CATEGORICAL:
            return identifiers(schema, spec.column)
        case FacetKind.MULTI_CATEGORICAL:
            return sets(schema, spec.column, spec.separator)
        case FacetKind.NUMERIC:
            return numbers(schema, spec.column)
        case FacetKind.DURATION:
            return durations(schema, spec.column, DurationUnit(spec.unit or ""))
        case FacetKind.INSTANT:
            unit = TimeUnit(spec.unit or "")
            return instants(schema, InstantColumn(column=spec.column, unit=unit, zone=spec.zone))


def holds(schema: Schema, condition: Condition) -> pl.Expr:
    """Return whether a row satisfies a condition; a missing value satisfies none."""
    value, wanted = pl.col(condition.column), condition.value
    _require_one_value(schema[condition.column], condition.column)
    number = value.cast(pl.Float64, strict=False)
    if condition.test in {"at_least", "below"}:
        bound = pl.lit(wanted, dtype=pl.Float64)
        met = number >= bound if condition.test == "at_least" else number < bound
        return met.fill_null(value=False)
    options = wanted if condition.test == "one_of" else [wanted]
    equal = [_equals(schema, condition.column, one) for one in options]
    return pl.any_horizontal(equal).fill_null(value=False)


def _equals(schema: Schema, column: str, wanted: Any) -> pl.Expr:
    value = pl.col(column)
    if isinstance(wanted, bool):
        words = ("true", "1") if wanted else ("false", "0")
        return identifiers(schema, column).str.to_lowercase().is_in(words)
    if isinstance(wanted, (int, float)):
        return value.cast(pl.Float64, strict=False) == wanted
    return identifiers(schema, column) == str(wanted)
