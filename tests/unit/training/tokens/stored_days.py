"""Generated events as the tokens of days on disk."""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tests.unit.training.tokens.generated_logs import SCHEMA, START
from training.events.parts import write_parts
from training.tokens.config import TokenizerConfig, json_bytes
from training.tokens.storage import write_tokens

DAY = timedelta(days=1)


def tokens_of_days(events: pa.Table, config: TokenizerConfig, root: Path) -> list[Path]:
    """Write the tokens of every day from the first one to that of the last event."""
    last = pc.max(events["occurred_at"]).as_py()
    folders = []
    for number in range((last - START).days + 1):
        begin = START + number * DAY
        at = events["occurred_at"]
        of_day = events.filter(pc.and_(pc.greater_equal(at, begin), pc.less(at, begin + DAY)))
        valid, tokens = root / "valid" / str(begin.date()), root / "tokens" / str(begin.date())
        for folder in (valid, tokens):
            folder.mkdir(parents=True)
        write_parts(of_day, valid, num_buckets=config.num_buckets)
        (valid / "schema.json").write_bytes(json_bytes(SCHEMA.to_json()))
        write_tokens(valid, config, tokens)
        folders.append(tokens)
    return folders
