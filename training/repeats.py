"""Which rows say what another row says already: one event may be delivered many times.

A row without ``event_id`` gets the hash of its content. Contents are computed, and compared, only
for rows that have no id or share theirs.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from training.codes import Column
from training.content_hash import content_ids
from training.contracts import Int64
from training.schema import EventSchema, FacetKind
from training.sets import sorted_sets

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Repeats:
    """Rows that share their ``event_id`` with others."""

    copies: Int64
    """Rows that say what another one says, which arrived no later: to be dropped."""

    rivals: Int64
    """All others of a shared id, by id and then in order of arrival: one may stay."""

    rival_ids: pl.Series
    """The id of each rival."""

    def conflicting(self, is_sound: Bool) -> Int64:
        """Return the sound rivals that are not the first sound one of their id."""
        sound = is_sound[self.rivals]
        later = ~self.rival_ids.filter(pl.Series(sound)).is_first_distinct().to_numpy()
        found: Int64 = self.rivals[sound][later]
        return found


def prepared(raw: pa.Table, schema: EventSchema) -> pa.Table:
    """Return the rows with ids, and with one form for values that mean the same.

    Sets are sorted and minus zero is zero: rows of equal content are then equal, and it does not
    matter which one of them stays.
    """
    rows = raw
    for facet in schema.facets:
        place = rows.schema.get_field_index(facet.name)
        field = rows.schema.field(place)
        if facet.kind is FacetKind.NUMERIC:
            is_zero = pc.equal(rows[facet.name], pa.scalar(0.0))
            plain = pc.if_else(is_zero, pa.scalar(0.0), rows[facet.name])
            rows = rows.set_column(place, field, plain)
        elif facet.kind is FacetKind.MULTI_CATEGORICAL:
            sets = sorted_sets(pl.Series(facet.name, rows[facet.name]))
            rows = rows.set_column(place, field, sets.to_arrow().cast(field.type))
    return rows.set_column(0, "event_id", ids_of(rows, schema))


def ids_of(rows: pa.Table, schema: EventSchema) -> Column:
    """Return every row's id: its own, or the hash of its content."""
    ids: Column = rows["event_id"].combine_chunks()
    length = pc.fill_null(pc.binary_length(ids), pa.scalar(0))
    is_missing: Column = pc.equal(length, pa.scalar(0))
    if not pc.any(is_missing).as_py():
        return ids
    names = contents(rows.filter(is_missing), schema)
    return pc.replace_with_mask(ids, is_missing, names)


def contents(rows: pa.Table, schema: EventSchema) -> pa.StringArray:
    """Return the hash of each row's content: all that it says but its id and its arrival."""
    names = [name for name in schema.arrow_schema.names if name not in {"event_id", "received_at"}]
    plain = rows.select(names).cast(pa.schema([schema.arrow_schema.field(name) for name in names]))
    return content_ids(plain)


def find_repeats(rows: pa.Table, schema: EventSchema) -> Repeats:
    """Tell apart the rows that share their id; of equal ones the first to arrive stays."""
    ids = pl.Series("event_id", rows["event_id"])
    # hashes find the few candidates in a tenth of the time that texts take
    shared = np.flatnonzero(ids.hash().is_duplicated().to_numpy())
    some = rows.take(shared)
    frame = pl.DataFrame(
        {
            "row": shared,
            "event_id": ids.gather(shared),
            "received_at": pl.Series(some["received_at"]),
            "content": pl.Series(contents(some, schema)),
        }
    ).filter(pl.col("event_id").is_duplicated())
    rivals = frame.sort("event_id", "received_at", "content", nulls_last=True).unique(
        ["event_id", "content"], keep="first", maintain_order=True
    )
    rows_of_rivals = rivals["row"].to_numpy()
    return Repeats(
        copies=np.setdiff1d(frame["row"].to_numpy(), rows_of_rivals),
        rivals=rows_of_rivals,
        rival_ids=rivals["event_id"],
    )
