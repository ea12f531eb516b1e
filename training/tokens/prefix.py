"""The prefix of users' histories of which only the order is known, as partial tokens."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training.codes import Column
from training.errors import ContractError
from training.events.source import PREFIX_SCHEMA
from training.schema import EventSchema
from training.tokens.merge import Bool, whole
from training.tokens.partial import PartialTokens, timeless_tokens

PREFIX_FILE = "prefix.parquet"


def read_prefix(
    folder: Path,
    schema: EventSchema,
    *,
    as_of: datetime,
    users: Collection[str] | None,
    inside: Callable[[Sequence[str]], Bool] | None = None,
) -> PartialTokens:
    """Return the prefixes that ended by ``as_of``, one token per item, at an unknown instant.

    Only those of ``users``, and of whom ``inside`` says so.

    Items with an ignored action are left out, as in days. Raises ContractError when a user repeats,
    when a row has not one action per item, or when an action is not in the schema.
    """
    path = folder / PREFIX_FILE
    with pq.ParquetFile(path, memory_map=True) as file:
        got = [(field.name, field.type) for field in file.schema_arrow]
        if got != [(field.name, field.type) for field in PREFIX_SCHEMA]:
            raise ContractError(
                f"history prefix columns: want {PREFIX_SCHEMA}, got {got} in {path}"
            )
        rows = file.read()
    if pc.count_distinct(rows["user_id"]).as_py() != rows.num_rows:
        raise ContractError(f"history prefix user_id: a user repeats in {path}")
    if not pc.list_value_length(rows["item_ids"]).equals(pc.list_value_length(rows["actions"])):
        raise ContractError(f"history prefix actions: want one per item in {path}")
    rows = rows.filter(pc.less_equal(rows["before"], pa.scalar(as_of, rows["before"].type)))
    if users is not None:
        wanted = pa.array(sorted(set(users)), pa.string())
        rows = rows.filter(pc.is_in(rows["user_id"], value_set=wanted))
    if inside is not None:
        ids: list[Any] = rows["user_id"].to_pylist()
        rows = rows.filter(pa.array(inside(ids)))
    return _as_tokens(rows.combine_chunks(), schema)


def _as_tokens(rows: pa.Table, schema: EventSchema) -> PartialTokens:
    lists = whole(rows["item_ids"])
    actions = whole(rows["actions"]).flatten()
    names = [action.name for action in schema.actions]
    is_known: Column = pc.is_in(actions, value_set=pa.array(names, pa.string()))
    unknown = actions.filter(pc.invert(is_known))
    if len(unknown):
        raise ContractError(f"history prefix actions: {unknown[0].as_py()!r} is not in the schema")
    code: Column = pc.index_in(actions, value_set=pa.array(schema.token_actions, pa.string()))
    is_kept = code.is_valid()
    row_of_item: Column = pc.list_parent_indices(lists)
    row_of_token = row_of_item.filter(is_kept).to_numpy()
    return timeless_tokens(
        whole(rows["user_id"]),
        np.bincount(row_of_token, minlength=rows.num_rows),
        lists.flatten().filter(is_kept),
        code.filter(is_kept).to_numpy(),
        schema,
    )
