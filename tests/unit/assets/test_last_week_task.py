"""The task that last week's consumer is given, over days of a small simulated world."""

from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest

from assets.backfill import build_day
from assets.last_week_task import NUM_ITEMS, last_week_task, most_chosen_titles
from assets.watermark import wall_clock
from assets.workspace import Workspace, WorkspaceConfig
from training.events.artifacts import read_events

DAYS = ["2026-01-01", "2026-01-02"]
END = datetime.fromisoformat("2026-01-03T00:00:00+00:00")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    parameters = {"num_users": 60, "num_titles": 100, "first_day": DAYS[0], "num_days": 2}
    workspace = Workspace.create(
        tmp_path_factory.mktemp("world"),
        WorkspaceConfig(
            source="simulated",
            source_parameters=parameters,
            first_day=date(2026, 1, 1),
            last_day=date(2026, 1, 2),
            recipe="tiny",
        ),
    )
    for day in DAYS:
        list(build_day(workspace, day, now=wall_clock()))
    return workspace


def folders(world: Workspace, asset: str) -> list[Path]:
    return list(world.paths(world.lake.refs(asset)))


def test_users_are_asked_for_the_titles_that_most_users_played(world: Workspace) -> None:
    task = most_chosen_titles(folders(world, "interaction_tokens"), as_of=END, trained_on="older")
    plays = set()
    for folder in folders(world, "valid_events"):
        rows = read_events(folder, ["user_id", "item_id", "action"])[1].to_pylist()
        plays |= {(one["user_id"], one["item_id"]) for one in rows if one["action"] == "play"}
    chosen = np.array(sorted(np.unique([item for _, item in plays], return_counts=True)[1]))
    assert task.trained_on == "older"
    assert task.answers.shape == (len(task.user_ids), NUM_ITEMS)
    # a play that somebody thumbs down is no choice
    assert task.answers.sum() <= chosen[-NUM_ITEMS:].sum()
    assert task.answers.sum() > 0.9 * chosen[-NUM_ITEMS:].sum()
    assert {user for user, _ in plays} <= set(task.user_ids)
    assert task.definition == (
        "which of the 20 titles that most users chose in the 2 days before 2026-01-03 a user chose "
        "then"
    )


def test_what_the_older_version_did_not_know_is_not_asked(world: Workspace) -> None:
    """Tokens of the second day are there, and the older version ends before it."""
    as_of = datetime.fromisoformat("2026-01-02T00:00:00+00:00")
    first, second = folders(world, "interaction_tokens")
    known = most_chosen_titles([first, second], as_of=as_of, trained_on="older")
    alone = most_chosen_titles([first], as_of=as_of, trained_on="older")
    assert known.answers.tolist() == alone.answers.tolist()


def test_a_frame_that_serves_nothing_has_no_consumer(world: Workspace) -> None:
    assert last_week_task(world, DAYS[1], frame=1) is None
