"""The catalogue of somebody's own log: from files that describe items, or from the events alone."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import polars as pl
import pyarrow as pa

from training.errors import SourceError
from training.events import columns
from training.events.log_files import LogFile
from training.events.mapping import CatalogueColumns
from training.events.source import CATALOGUE_SCHEMA

_TEXTS = ("title", "original_language", "release_country", "maturity", "synopsis")


def described_items(
    files: Sequence[LogFile], spec: CatalogueColumns, *, begins: datetime
) -> pl.DataFrame:
    """Return the items of catalogue files, ``CATALOGUE_SCHEMA``, by item and valid_from.

    An item that does not say since when it holds is taken to hold since ``begins``.

    Raises:
        SourceError: a column is missing or of a type that does not fit, an item has no id or no
            kind, or two rows say different things of one item at one instant.
    """
    wanted = item_columns(spec)
    frames = (rows for file in files for rows in file.frames(wanted))
    items = (
        pl.concat([item_rows(rows, spec, begins) for rows in frames])
        .unique()
        .sort("item_id", "valid_from")
    )
    for name in ("item_id", "kind"):
        missing = items.filter(pl.col(name).is_null() | (pl.col(name) == ""))
        if missing.height:
            raise SourceError(
                f"catalogue: {missing.height} rows without {name}; the first one has the title "
                f"{missing['title'][0]!r} and the item id {missing['item_id'][0]!r}"
            )
    repeated = items.filter(pl.struct("item_id", "valid_from").is_duplicated())
    if repeated.height:
        raise SourceError(
            f"catalogue: rows of item {repeated['item_id'][0]!r} differ and both hold since "
            f"{repeated['valid_from'][0]}: keep one, or name the column with its start as "
            "catalogue.valid_from"
        )
    return items


def seen_items(frames: Iterable[pl.DataFrame], *, kind: str) -> pl.DataFrame:
    """Return the items of ``item_id`` and ``occurred_at``, each known from its first event on."""
    seen = pl.DataFrame(schema={"item_id": pl.String, "valid_from": columns.INSTANT})
    first = pl.col("valid_from").min()
    for frame in frames:
        named = frame.filter(pl.col("item_id").str.len_bytes() > 0)
        fresh = named.group_by("item_id").agg(valid_from=pl.col("occurred_at").min())
        seen = pl.concat([seen, fresh]).group_by("item_id").agg(first)
    empty = pl.from_arrow(CATALOGUE_SCHEMA.empty_table())
    assert isinstance(empty, pl.DataFrame)
    values = {name: pl.lit(None, dtype=dtype) for name, dtype in empty.schema.items()}
    values |= {"item_id": pl.col("item_id"), "kind": pl.lit(kind)}
    values["valid_from"] = pl.col("valid_from")
    return seen.select(**values).sort("item_id")


def catalogue_before(items: pl.DataFrame, as_of: datetime) -> pa.Table:
    """Return the rows that are known before an instant."""
    known = items.filter(pl.col("valid_from") < as_of)
    return known.to_arrow().cast(CATALOGUE_SCHEMA).combine_chunks()


def item_columns(spec: CatalogueColumns) -> list[str]:
    """Return the columns of catalogue files that are read."""
    named = [spec.item_id, spec.kind_column, *spec.texts.values(), spec.genres, spec.release_date]
    named += [spec.runtime[0]] if spec.runtime else []
    named += [one.column for one in (spec.valid_from, spec.valid_to) if one]
    return [one for one in named if one]


def item_rows(rows: pl.DataFrame, spec: CatalogueColumns, begins: datetime) -> pl.DataFrame:
    """Return the items of rows, ``CATALOGUE_SCHEMA``, in their order."""
    schema = rows.schema
    text = pl.lit(None, dtype=pl.String)
    since = columns.instants(schema, spec.valid_from) if spec.valid_from else pl.lit(None)
    until = columns.instants(schema, spec.valid_to) if spec.valid_to else pl.lit(None)
    kind = columns.identifiers(schema, spec.kind_column) if spec.kind_column else pl.lit(spec.kind)
    texts = {
        name: columns.identifiers(schema, spec.texts[name]) if name in spec.texts else text
        for name in _TEXTS
    }
    runtime = pl.lit(None, dtype=pl.Int32)
    if spec.runtime:
        length = columns.durations(schema, *spec.runtime) / 1000
        runtime = pl.when(length >= 0).then(length.round()).cast(pl.Int32, strict=False)
    return rows.select(
        item_id=columns.identifiers(schema, spec.item_id),
        kind=kind,
        title=texts["title"],
        genres=columns.sets(schema, spec.genres, spec.separator)
        if spec.genres
        else pl.lit(None, dtype=pl.List(pl.String)),
        original_language=texts["original_language"],
        release_country=texts["release_country"],
        release_date=_dates(schema, spec.release_date),
        runtime_s=runtime,
        maturity=texts["maturity"],
        synopsis=texts["synopsis"],
        valid_from=pl.coalesce(since, pl.lit(begins)).cast(columns.INSTANT),
        valid_to=until.cast(columns.INSTANT),
    )


def _dates(schema: columns.Schema, column: str | None) -> pl.Expr:
    """Return dates; of text YYYY-MM-DD at its start, or a year alone as its first day."""
    if column is None:
        return pl.lit(None, dtype=pl.Date)
    dtype, value = schema[column], pl.col(column)
    if dtype.is_temporal():
        return value.cast(pl.Date)
    text = columns.identifiers(schema, column)
    whole = text.str.extract(r"^(\d{4}-\d{2}-\d{2})").str.to_date("%Y-%m-%d", strict=False)
    year = (text.str.extract(r"^(\d{4})$") + "-01-01").str.to_date("%Y-%m-%d", strict=False)
    return pl.coalesce(whole, year)
