"""Ten thousand random probes of what was served: by the client and by Feast's join, one answer."""

from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from feast import FeatureView, Field, FileSource
from feast.types import String

from embedding_store.client import EmbeddingClient
from feature_repo.offline import ServedHistoryOfflineStore
from feature_repo.rendering import _entity
from tests.unit.embedding_store.small_world import SmallWorld, instant

NUM_PROBES = 10_000
US = timedelta(microseconds=1)


def test_what_was_served_at_an_instant_knows_nothing_later_and_misses_nothing(
    tmp_path: Path,
) -> None:
    world = SmallWorld(tmp_path)
    world.serve(0, 1, 2)
    world.publisher.rollback(1, effective_at=instant(6, 5), why="a test")
    client = EmbeddingClient(world.store.root)
    switches = client.store.state().served(1)
    draw = np.random.default_rng(0)
    instants = [
        instant(0) + int(us) * US for us in draw.integers(0, 9 * 86_400 * 10**6, NUM_PROBES)
    ]
    for place, (at, _) in enumerate(switches * 3):  # at each switch, and next to it
        instants[place] = at + (place // len(switches) - 1) * US
    ids = [f"user-{number}" for number in draw.integers(0, 70, NUM_PROBES)]  # ten are unknown

    joined = _join(world.store.history_folder(1, "user"), ids, instants)

    served = np.full(NUM_PROBES, "", dtype=object)
    for rows, version in client.served_at(instants):
        served[rows] = version.name
        answer = version.users([ids[row] for row in rows])
        vectors = joined["served__embedding"].iloc[rows]
        is_joined = vectors.notna().to_numpy()
        assert (is_joined == answer.is_found).all()
        np.testing.assert_array_equal(np.stack(vectors[is_joined]), answer.vectors[is_joined])
    num_served = 0
    for probe, at in enumerate(instants):
        before = [version for began, version in switches if began <= at]
        assert served[probe] == (before[-1].name if before else "")
        is_known = before and int(ids[probe][5:]) < 60
        assert joined["served__version"][probe] == (before[-1].name if is_known else None)
        if before:
            assert datetime.fromisoformat(before[-1].as_of) <= at
        num_served += bool(before)
    assert NUM_PROBES / 2 < num_served < NUM_PROBES


def _join(history: Path, ids: list[str], instants: list[datetime]) -> pd.DataFrame:
    source = FileSource(name="history", path=str(history), timestamp_field="event_timestamp")
    view = FeatureView(
        name="served",
        entities=[_entity("user")],
        schema=[Field(name="user_id", dtype=String), Field(name="version", dtype=String)],
        source=source,
    )
    rows = pd.DataFrame({"user_id": ids, "event_timestamp": pd.to_datetime(instants)})
    return ServedHistoryOfflineStore.get_historical_features(
        config=SimpleNamespace(repo_path=None),
        feature_views=[view],
        feature_refs=["served:version", "served:embedding"],
        entity_df=rows,
        registry=None,
        project="test",
        full_feature_names=True,
    ).to_df()
