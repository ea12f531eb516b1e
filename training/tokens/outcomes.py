"""What tokens say beyond their stored columns: the strongest action, the share that was watched.

Both follow from joined tokens, so the join law holds for them by construction: a session across
midnight has one strongest action, and its whole duration over the runtime.
"""

import numpy as np
import polars as pl
import pyarrow as pa

from training.contracts import UNKNOWN_INSTANT, Float64, Histories, Int32
from training.schema import EventSchema
from training.tokens.config import TokenizerConfig


def strongest_action(histories: Histories, schema: EventSchema, config: TokenizerConfig) -> Int32:
    """Return the strongest action of each token, int32[T], as a column of ``action_counts``.

    ``schema`` and ``config`` are those of the tokens (``read_schema``, ``read_config``).
    """
    columns = [schema.token_actions.index(name) for name in config.strongest_first(schema)]
    place = np.argmax(histories.action_counts[:, columns] > 0, axis=1)
    strongest: Int32 = np.array(columns, dtype=np.int32)[place]
    return strongest


def completion(histories: Histories, catalogue: pa.Table) -> Float64:
    """Return each token's summed duration over the runtime of its item, float64[T].

    Above 1 where it was watched again within the gap. NaN where the instant is unknown, or where
    the catalogue (``CATALOGUE_SCHEMA``) had no runtime of the item when the token began.
    """
    runtime_s = _runtime_s(histories, catalogue)
    is_known = (histories.first_at != UNKNOWN_INSTANT) & (runtime_s > 0)
    share = histories.duration_ms / 1000.0 / np.where(is_known, runtime_s, np.nan)
    return np.asarray(share, dtype=np.float64)


def _runtime_s(histories: Histories, catalogue: pa.Table) -> Float64:
    """Return the runtime in the description that held at the first instant of each token."""
    rows = pl.from_arrow(catalogue.select(["item_id", "runtime_s", "valid_from", "valid_to"]))
    assert isinstance(rows, pl.DataFrame)
    codes = pl.DataFrame(
        {"item_id": histories.items, "item": range(len(histories.items))},
        schema={"item_id": pl.String, "item": pl.Int32},
    )
    described = (
        rows.join(codes, on="item_id")
        .with_columns(pl.col("valid_from", "valid_to").cast(pl.Int64))
        .sort("valid_from")
    )
    tokens = pl.DataFrame({"item": histories.item_code, "at": histories.first_at}).with_row_index()
    joined = (
        tokens.sort("at")
        .join_asof(
            described,
            left_on="at",
            right_on="valid_from",
            by="item",
            strategy="backward",
            check_sortedness=False,  # both are sorted above; polars cannot tell within groups
        )
        .sort("index")
    )
    holds = pl.col("valid_to").is_null() | (pl.col("at") < pl.col("valid_to"))
    runtime = joined.select(pl.when(holds).then(pl.col("runtime_s")).cast(pl.Float64)).to_series()
    return runtime.fill_null(float("nan")).to_numpy()
