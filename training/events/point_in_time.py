"""What a catalogue says at one instant."""

from datetime import datetime

import polars as pl
import pyarrow as pa

from training.events.source import CATALOGUE_SCHEMA


def newest_rows(catalogue: pa.Table, *, as_of: datetime) -> pa.Table:
    """Return one row per item launched before an instant, the newest of its rows, by item id.

    Items that have left keep their last row, with the end in ``valid_to``: histories still hold
    them. An end that lies at or after the instant is not known yet and so is null.
    """
    rows = pl.from_arrow(catalogue)
    assert isinstance(rows, pl.DataFrame)
    known = rows.filter(pl.col("valid_from") < as_of).sort("item_id", "valid_from")
    newest = known.unique("item_id", keep="last", maintain_order=True).with_columns(
        valid_to=pl.when(pl.col("valid_to") < as_of).then(pl.col("valid_to"))
    )
    return newest.to_arrow().cast(CATALOGUE_SCHEMA).combine_chunks()
