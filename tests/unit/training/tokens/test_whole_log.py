from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from lake.days import end_of
from training.events.artifacts import write_catalogue, write_raw, write_valid
from training.events.simulated import SimulatedWorld
from training.events.world import WorldParameters
from training.tokens.config import TokenizerConfig
from training.tokens.histories import read_histories
from training.tokens.storage import write_tokens
from training.tokens.whole_log import histories_of

WORLD = SimulatedWorld(WorldParameters(num_users=300, num_titles=150, num_days=4))
DAYS = [WORLD.first_day + timedelta(days=number) for number in range(4)]
EVER = end_of("2099-01-01")


def test_a_log_at_once_and_day_by_day_give_the_same_histories(tmp_path: Path) -> None:
    config = TokenizerConfig(num_buckets=4)
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    write_catalogue(WORLD, end_of(DAYS[-1].isoformat()), catalogue)
    folders = []
    for day in DAYS:
        raw, valid, tokens = (tmp_path / f"{day}" / name for name in ("raw", "valid", "tokens"))
        for folder in (raw, valid, tokens):
            folder.mkdir(parents=True)
        write_raw(WORLD, day, EVER, raw, num_buckets=4)
        write_valid(raw, catalogue, day, valid)
        write_tokens(valid, config, tokens)
        folders.append(tokens)

    # a row that says another day than that it was delivered with is rejected there, valid here
    at_once = pa.concat_tables(
        table.filter(pa.compute.equal(table["occurred_at"].cast(pa.date32()), pa.scalar(day)))
        for day in DAYS
        for table in [WORLD.read_day(day, received_before=EVER)]
    )
    whole = histories_of(
        at_once,
        schema=WORLD.schema,
        catalogue=WORLD.catalogue(as_of=end_of(DAYS[-1].isoformat())),
        config=config,
    )
    by_day = read_histories(folders, as_of=end_of(DAYS[-1].isoformat()))

    assert whole.user_ids == by_day.user_ids
    assert whole.items == by_day.items
    for name in (
        "offsets",
        "item_code",
        "first_at",
        "last_at",
        "duration_ms",
        "num_events",
        "action_counts",
    ):
        np.testing.assert_array_equal(getattr(whole, name), getattr(by_day, name))
    for name, (values, codes) in by_day.request_categories.items():
        assert whole.request_categories[name][0] == values
        np.testing.assert_array_equal(whole.request_categories[name][1], codes)
