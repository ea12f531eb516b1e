"""Two frames live: each has its services, columns, history and online rows of its own."""

import sqlite3
from contextlib import closing
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from embedding_store.client import EmbeddingClient
from embedding_store.publisher import Publisher
from feature_repo.errors import NotServedError
from feature_repo.folder import PROJECT, FeastFolder
from feature_repo.lookup import open_features
from feature_repo.projection import confirm, reconcile
from feature_repo.registry import open_for_reading
from tests.unit.feature_repo.small_world import SmallWorld, content_of, instant


@pytest.fixture
def both(world: SmallWorld) -> SmallWorld:
    """v1 and v3 in frame 1, v2 and v4 in frame 2 with another dim; v3 and v4 are stable."""
    for number, frame, dim in ((1, 1, 8), (2, 2, 5), (3, 1, 8), (4, 2, 5)):
        world.publish(number, content_of(number, dim=dim), frame=frame)
        world.promote(number, at=instant(number + 0.5), frame=frame)
    reconcile(world.root)
    return world


def services(world: SmallWorld) -> dict[str, set[str]]:
    """The views behind each service, by their names in the registry."""
    registry = open_for_reading(FeastFolder.of(world.root)).registry
    return {
        one.name: {view.name for view in one.feature_view_projections}
        for one in registry.list_feature_services(PROJECT)
    }


def tables(world: SmallWorld) -> set[str]:
    with closing(sqlite3.connect(FeastFolder.of(world.root).online)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name for (name,) in found if "embedding__" in name}


def test_both_frames_answer_by_services_of_the_same_columns(both: SmallWorld) -> None:
    for frame, number, dim in ((1, 3, 8), (2, 4, 5)):
        confirmed = confirm(both.root, frame=frame)
        assert confirmed["version"] == f"v{number}"
        users = open_features(both.feast, frame=frame).users(["u10", "nobody"])
        assert users.vectors.shape == (2, dim)
        np.testing.assert_array_equal(users.vectors[0], both.contents[number].users["u10"])
        np.testing.assert_array_equal(users.vectors[1], both.contents[number].default)
        assert services(both)[f"embeddings_f{frame}_stable_user"] == {
            f"user_embedding__f{frame}__v{number}"
        }
    assert reconcile(both.root).is_noop


def test_a_join_is_of_one_frame_with_its_own_switches(both: SmallWorld) -> None:
    rows = pd.DataFrame(
        {
            "user_id": ["u10"] * 3,
            "item_id": ["i3"] * 3,
            "event_timestamp": [instant(2), instant(3), instant(5)],
        }
    )
    wanted = {1: ["v1", "v1", "v3"], 2: [None, "v2", "v4"]}
    for frame, versions in wanted.items():
        joined = open_features(both.feast, frame=frame).training_frame(rows, allow_unserved=True)
        assert joined.versions.tolist() == versions
        want = both.contents[int(versions[1][1:])].users["u10"]
        np.testing.assert_array_equal(joined.users.vectors[1], want)


def test_a_rollback_in_one_frame_leaves_the_other(both: SmallWorld) -> None:
    both.roll_back(1, at=instant(9))
    reconcile(both.root)
    found = {frame: open_features(both.feast, frame=frame).version for frame in (1, 2)}
    assert found == {1: "v1", 2: "v4"}


def test_an_erasure_goes_through_the_rows_and_histories_of_both(both: SmallWorld) -> None:
    both.erase("u10")
    reconcile(both.root)
    for frame in (1, 2):
        features = open_features(both.feast, frame=frame)
        assert features.users(["u10", "u11"]).is_found.tolist() == [False, True]
        rows = pd.DataFrame(
            {"user_id": ["u10"], "item_id": ["i3"], "event_timestamp": [instant(5)]}
        )
        assert not features.training_frame(rows).users.is_found.any()


def test_a_retired_frame_leaves_feast_and_keeps_its_history(both: SmallWorld) -> None:
    history = sorted((both.root / "store" / "history" / "f1").rglob("*.parquet"))
    assert len(history) == 4
    Publisher(both.store, by="test").retire_frame(1, effective_at=instant(20), why="unread")

    before = open_features(both.feast, frame=1)

    assert reconcile(both.root).is_applied

    assert {name.split("_")[1] for name in services(both)} == {"f2"}
    assert tables(both) == {
        f"{PROJECT}_{side}_embedding__f2__v{number}"
        for side in ("user", "item")
        for number in (2, 4)
    }
    with pytest.raises(NotServedError, match=r"embeddings_f1_stable: .* frame 2 is served"):
        open_features(both.feast, frame=1)
    before._store.registry.refresh()
    with pytest.raises(NotServedError, match=r"frame 1 .*retired.* frame 2 is served"):
        before.users(["u10"])
    assert open_features(both.feast, frame=2).version == "v4"
    assert sorted((both.root / "store" / "history" / "f1").rglob("*.parquet")) == history
    asked = [instant(2), instant(4), instant(4) + timedelta(hours=1)]
    client = EmbeddingClient(both.store.root)
    served = {one.name: rows.tolist() for rows, one in client.served_at(asked, frame=1)}
    assert served == {"v1": [0], "v3": [1, 2]}
    for again in range(2):
        assert reconcile(both.root).is_noop, again
