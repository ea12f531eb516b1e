"""The folders of events: who writes which file, and how they are read back.

::

    raw_events/          events.parquet  schema.json     rows as they arrived
    valid_events/        events.parquet  schema.json     sorted, unique, every rule holds
    quarantined_events/  events.parquet  schema.json     and the rule that each row broke
    catalogue/           catalogue.parquet
    history_prefix/      prefix.parquet
"""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.atomic import replace_json
from lake.lake import Written
from training.errors import ContractError, NoDataError, SourceError
from training.events.source import CATALOGUE_SCHEMA, PREFIX_SCHEMA, EventSource
from training.rules import SplitEvents, check_columns, split_events
from training.schema import TIMESTAMP, EventSchema

EVENTS_FILE = "events.parquet"
SCHEMA_FILE = "schema.json"
CATALOGUE_FILE = "catalogue.parquet"
PREFIX_FILE = "prefix.parquet"

_ROW_GROUP_ROWS = 1 << 17
_ANY_TIME = datetime(9999, 12, 31, tzinfo=UTC)


def write_raw(source: EventSource, day: date, received_before: datetime, folder: Path) -> Written:
    """Write a day's events as they arrived before an instant; raises NoDataError when none did.

    A day that the source knows to be empty is written empty. What the source holds by now and
    arrived later is counted, as ``late``, and left out.
    """
    arrived = source.read_day(day, received_before=_ANY_TIME)
    check_columns(arrived, source.schema)
    cut = pa.scalar(received_before, type=TIMESTAMP)
    received_at = arrived["received_at"]
    is_early = pc.less(received_at, cut)
    # a row without an instant of arrival is for the rules to reject, where it is counted
    raw = arrived.filter(pc.or_kleene(is_early, received_at.is_null())).combine_chunks()
    if arrived.num_rows and not raw.num_rows:
        raise NoDataError(f"{source.name} {day}: no events arrived before {received_before}")
    _write_events(raw, source.schema, folder)
    return Written(raw.num_rows, {**_figures(raw), "late": arrived.num_rows - raw.num_rows})


def write_valid(raw_folder: Path, catalogue_folder: Path, day: date, folder: Path) -> Written:
    """Write the events of a day that satisfy every rule; raises NoDataError when none does."""
    schema, split = _split(raw_folder, catalogue_folder, day)
    if split.quarantined.num_rows and not split.valid.num_rows:
        broken = {rule: count for rule, count in split.counts_by_rule.items() if count}
        raise NoDataError(f"{schema.name} {day}: no event satisfies every rule; broken: {broken}")
    _write_events(split.valid, schema, folder)
    figures = {
        **_figures(split.valid),
        "quarantined": split.quarantined.num_rows,
        "duplicates": split.num_duplicates,
    }
    return Written(split.valid.num_rows, figures)


def write_quarantined(raw_folder: Path, catalogue_folder: Path, day: date, folder: Path) -> Written:
    """Write the events of a day that break a rule, with the first rule each one breaks."""
    schema, split = _split(raw_folder, catalogue_folder, day)
    _write_events(split.quarantined, schema, folder)
    figures = {"rows": split.quarantined.num_rows, "by_rule": split.counts_by_rule}
    return Written(split.quarantined.num_rows, figures)


def write_catalogue(source: EventSource, as_of: datetime, folder: Path) -> Written:
    """Write what is known of items before an instant; raises NoDataError when it is nothing."""
    catalogue = source.catalogue(as_of=as_of)
    _check_schema(catalogue, CATALOGUE_SCHEMA, f"catalogue of {source.name}")
    if catalogue.num_rows == 0:
        raise NoDataError(f"{source.name}: the catalogue is empty before {as_of}")
    write_parquet(catalogue, folder / CATALOGUE_FILE)
    figures = {
        "rows": catalogue.num_rows,
        "items": pc.count_distinct(catalogue["item_id"]).as_py(),
        "by_kind": _counts(catalogue["kind"]),
    }
    return Written(catalogue.num_rows, figures)


def write_prefix(source: EventSource, folder: Path) -> Written:
    """Write users' histories of which only the order is known; often there are none."""
    prefix = source.history_prefix()
    _check_schema(prefix, PREFIX_SCHEMA, f"history prefix of {source.name}")
    write_parquet(prefix, folder / PREFIX_FILE)
    items = pc.sum(pc.list_value_length(prefix["item_ids"])).as_py() or 0
    return Written(prefix.num_rows, {"users": prefix.num_rows, "items": items})


def read_events(folder: Path) -> tuple[EventSchema, pa.Table]:
    """Return the schema and the events of a folder; quarantined ones have ``rule`` as well."""
    schema = EventSchema.from_json(json.loads(_present(folder / SCHEMA_FILE).read_bytes()))
    return schema, pq.read_table(_present(folder / EVENTS_FILE))


def scan_events(folder: Path) -> tuple[EventSchema, pl.LazyFrame]:
    """Return the schema and the events of a folder, to be streamed."""
    schema = EventSchema.from_json(json.loads(_present(folder / SCHEMA_FILE).read_bytes()))
    files = sorted(folder.glob("events*.parquet"))
    if not files:
        raise SourceError(f"{folder} holds no events: build it again")
    return schema, pl.scan_parquet(files, glob=False)  # a folder's name may look like a pattern


def read_catalogue(folder: Path) -> pa.Table:
    """Return the catalogue of a folder, ``CATALOGUE_SCHEMA``."""
    table = pq.read_table(_present(folder / CATALOGUE_FILE))
    _check_schema(table, CATALOGUE_SCHEMA, str(folder))
    return table


def read_prefix(folder: Path) -> pa.Table:
    """Return the history prefix of a folder, ``PREFIX_SCHEMA``."""
    table = pq.read_table(_present(folder / PREFIX_FILE))
    _check_schema(table, PREFIX_SCHEMA, str(folder))
    return table


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table so that equal content gives equal bytes."""
    plain = table.replace_schema_metadata(None).combine_chunks()
    pq.write_table(
        plain,
        path,
        compression="zstd",
        row_group_size=_ROW_GROUP_ROWS,
        store_schema=True,
        use_dictionary=_repeating(plain.schema),  # type: ignore[arg-type]  # stubs know bool only
    )


def _repeating(schema: pa.Schema) -> list[str]:
    """Return the columns, as Parquet names them, whose values repeat: text that is no event id.

    A dictionary of ids or instants is given up half-way, after the work and the bytes of it.
    """
    texts = [field.name for field in schema if field.type == pa.string()]
    lists = [f"{field.name}.list.element" for field in schema if pa.types.is_list(field.type)]
    return [name for name in (*texts, *lists) if name != "event_id"]


def _split(raw_folder: Path, catalogue_folder: Path, day: date) -> tuple[EventSchema, SplitEvents]:
    schema, raw = read_events(raw_folder)
    catalogue = read_catalogue(catalogue_folder)
    return schema, split_events(raw, schema=schema, day=day, catalogue=catalogue)


def _write_events(events: pa.Table, schema: EventSchema, folder: Path) -> None:
    write_parquet(events, folder / EVENTS_FILE)
    replace_json(folder / SCHEMA_FILE, schema.to_json())


def _figures(events: pa.Table) -> dict[str, Any]:
    return {
        "rows": events.num_rows,
        "users": pc.count_distinct(events["user_id"]).as_py(),
        "items": pc.count_distinct(events["item_id"]).as_py(),
        "by_action": _counts(events["action"]),
    }


def _counts(column: "pa.ChunkedArray[Any]") -> dict[str, int]:
    """Return how often each value occurs, the commonest first."""
    counted = pl.Series("value", column).cast(pl.String).value_counts()
    return {
        str(value): n
        for value, n in counted.sort(["count", "value"], descending=[True, False]).iter_rows()
    }


def _check_schema(table: pa.Table, want: pa.Schema, what: str) -> None:
    if not table.schema.equals(want):
        raise ContractError(f"{what}: want columns {want}, got {table.schema}")


def _present(path: Path) -> Path:
    if not path.is_file():
        raise SourceError(f"{path} is missing: build its folder again")
    return path
