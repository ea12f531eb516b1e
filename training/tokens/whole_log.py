"""Histories of a log that fits into memory, without files: what studies of published data need.

The same rules, merge and join as day by day, over all days at once, so the same histories.
"""

import pyarrow as pa

from training.contracts import Histories
from training.rules import split_events
from training.schema import EventSchema
from training.tokens.config import TokenizerConfig
from training.tokens.histories import joined
from training.tokens.merge import merge
from training.tokens.partial import read_bucket
from training.tokens.storage import jagged


def histories_of(
    raw: pa.Table, *, schema: EventSchema, catalogue: pa.Table, config: TokenizerConfig
) -> Histories:
    """Return the histories of raw events of any days; what breaks a rule is left out.

    Equal to what ``read_histories`` returns after the last day, had every day been taken in alone.
    """
    split = split_events(raw, schema=schema, day=None, catalogue=catalogue)
    tokens = merge(split.coded_valid, schema, config)
    return joined([read_bucket(jagged(tokens), schema)], gap_us=config.merge_gap_us)
