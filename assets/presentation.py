"""Figures in the forms that a person reads in the orchestrator: tables, links, short numbers.

Its pages show the rows of metadata in the order given. Tables and markdown below a thousand
characters stand on the page itself; longer markdown and JSON hide behind a click. Whole and real
numbers are drawn over the partitions under "Plots".
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa


def table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Return rows of the same columns as a table; real numbers have four figures."""
    records = [dg.TableRecord({name: _cell(one) for name, one in row.items()}) for row in rows]
    columns = [dg.TableColumn(name) for name in (rows[0] if rows else ())]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


def counts(by_name: Mapping[str, int | float], *, of: str, unit: str) -> dg.TableMetadataValue:
    """Return counts by name, the largest first, each with its share of their sum."""
    total = sum(by_name.values()) or 1
    ordered = sorted(by_name.items(), key=lambda one: -one[1])
    return table(
        [{of: name, unit: f"{count:,}", "share": f"{count / total:.1%}"} for name, count in ordered]
    )


def links(named: Iterable[tuple[str, str]]) -> dg.MarkdownMetadataValue:
    """Return links by name, on one line."""
    return dg.MetadataValue.md(" · ".join(f"[{name}]({url})" for name, url in named))


def interval(value: float, low: float, high: float, *, is_signed: bool = False) -> str:
    """Return a figure with its interval: ``0.281 [0.262, 0.301]``."""
    sign = "+" if is_signed else ""
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def column_schema(schema: pa.Schema, meanings: Mapping[str, str] | None = None) -> dg.TableSchema:
    """Return a table's columns with their types, and what they mean where it is known."""
    meanings = meanings or {}
    return dg.TableSchema(
        [
            dg.TableColumn(
                field.name,
                str(field.type),
                description=meanings.get(field.name),
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in schema
        ]
    )


def _cell(value: Any) -> str | int | float | bool | None:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case str() | int():
            return value
        case _:
            return str(value)
