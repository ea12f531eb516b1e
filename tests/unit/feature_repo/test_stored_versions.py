"""Feast serves float32 whatever a version is stored as: bit by bit what the client answers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from embedding_store.client import EmbeddingClient
from feature_repo.lookup import open_features
from feature_repo.projection import reconcile
from tests.unit.embedding_store.small_world import SmallWorld, instant

STRANGER = "stranger"


@pytest.fixture(params=["float32", "float16", "int8"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> SmallWorld:
    world = SmallWorld(tmp_path, dtype=request.param)
    world.serve(0, 1)
    return world


def test_online_rows_are_what_the_client_answers(world: SmallWorld) -> None:
    written = reconcile(world.folder).written
    assert written["user_embedding__f1__v2"] == 60
    features, pinned = (
        open_features(world.folder / "feast"),
        EmbeddingClient(world.store.root).pin(),
    )
    ids = [*world.raw.user_ids, STRANGER]
    users, items = features.users(ids), features.items(world.raw.item_ids)
    assert users.is_found.tolist() == [True] * 60 + [False]
    np.testing.assert_array_equal(users.vectors, pinned.users(ids).vectors)
    np.testing.assert_array_equal(items.vectors, pinned.items(world.raw.item_ids).vectors)
    assert reconcile(world.folder).is_noop


def test_a_point_in_time_join_gives_what_was_answered_then(world: SmallWorld) -> None:
    world.publisher.rollback(1, effective_at=instant(4), why="a test")
    reconcile(world.folder)
    client, features = (
        EmbeddingClient(world.store.root),
        open_features(world.folder / "feast"),
    )
    instants = [instant(1, 2), instant(2, 2), instant(4, 2)]
    rows = pd.DataFrame(
        {
            "user_id": ["user-3", "user-4", STRANGER],
            "item_id": ["item-1", "item-2", "item-3"],
            "event_timestamp": pd.to_datetime(instants, utc=True),
        }
    )
    joined = features.training_frame(rows)
    for row, at in enumerate(instants):
        then = client.pin(as_of=at)
        want = then.users([rows["user_id"][row]])
        assert joined.users.is_found[row] == want.is_found[0]
        np.testing.assert_array_equal(joined.users.vectors[row], want.vectors[0])
