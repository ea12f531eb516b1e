"""Two tokenizers over one log, side by side."""

from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from assets.automation import ingestion_assets
from assets.backfill import ASSETS, build_day
from assets.definitions import defs
from assets.watermark import wall_clock
from assets.workspace import Workspace, WorkspaceConfig
from lake.days import end_of
from training.schema import ActionRole
from training.tokens.histories import read_histories
from training.tokens.partial import read_config, read_schema
from training.tokens.tokenizers import TOKENIZERS

DAYS = ["2026-01-01", "2026-01-02"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    parameters = {"num_users": 200, "num_titles": 100, "first_day": DAYS[0], "num_days": 2}
    config = WorkspaceConfig(
        source="simulated",
        source_parameters=parameters,
        first_day=date(2026, 1, 1),
        last_day=date(2026, 1, 2),
        recipe="tiny",
    )
    workspace = Workspace.create(tmp_path_factory.mktemp("home") / "world", config)
    for day in DAYS:
        list(build_day(workspace, day, now=wall_clock()))
    return workspace


def folders(workspace: Workspace, asset: str) -> tuple[Path, ...]:
    return workspace.paths(workspace.lake.refs(asset))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_tokenizer_writes_what_one_reader_reads(name: str, world: Workspace) -> None:
    made = folders(world, name)

    histories = read_histories(made, as_of=end_of(DAYS[-1]))

    assert read_config(made[0]) == TOKENIZERS[name]
    assert histories.num_tokens > 0
    assert histories.action_counts.shape[1] == len(read_schema(made[0]).token_actions)


def test_viewings_are_the_choices_of_the_same_users(world: Workspace) -> None:
    everything, viewings = (
        read_histories(folders(world, name), as_of=end_of(DAYS[-1])) for name in TOKENIZERS
    )
    schema = read_schema(folders(world, "interaction_tokens")[0])
    targets = [schema.token_actions.index(name) for name in schema.actions_with(ActionRole.TARGET)]

    assert set(viewings.user_ids) <= set(everything.user_ids)
    assert viewings.num_tokens < everything.num_tokens
    assert viewings.num_events.sum() == everything.action_counts[:, targets].sum()


def test_what_a_day_is_made_of_is_the_same_in_every_job() -> None:
    graph = defs.resolve_asset_graph()

    ingested = {key.to_user_string() for key in ingestion_assets.resolve(graph)}
    assert ingested == {*ASSETS, "late_arrivals"}  # which makes the same of an earlier day
    assert set(TOKENIZERS) <= set(ASSETS)
    for name in (*TOKENIZERS, "item_statistics"):
        assert graph.get(dg.AssetKey(name)).partitions_def is not None
