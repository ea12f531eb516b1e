"""Ten thousand random probes of what was served: by the client and by Feast's join, one answer."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from feast import FeatureView, Field, FileSource
from feast.types import String

from embedding_store.client import EmbeddingClient
from embedding_store.contracts import SIDES, Side
from feature_repo.lookup import open_features
from feature_repo.offline import ServedHistoryOfflineStore
from feature_repo.projection import reconcile
from feature_repo.rendering import _entity
from tests.unit.embedding_store.small_world import SmallWorld, instant
from tests.unit.feature_repo.small_world import SmallWorld as FeastWorld
from tests.unit.feature_repo.small_world import content_of
from tests.unit.feature_repo.small_world import instant as served_from

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


@dataclass
class Past:
    """The plain account of what happened: which version was served from when on."""

    world: FeastWorld
    switches: list[tuple[datetime, int]] = field(default_factory=list)
    standing: list[int] = field(default_factory=list)
    """What ``stable`` rests on: the versions that it can be rolled back to, and what it is."""
    retired: set[int] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)

    def go_on(self, draw: Random) -> None:
        """Let one thing happen: a switch, a rollback, an erasure, a retirement."""
        pause = draw.choice([US, timedelta(hours=1), timedelta(days=draw.uniform(0.1, 3))])
        at = (self.switches[-1][0] if self.switches else served_from(0)) + pause
        older = [one for one in self.standing[:-1] if one not in self.retired]
        left = sorted({*self.world.contents} - {*self.standing} - self.retired)
        act = draw.choice(["switch", "switch", "again", "roll back", "erase", "retire"])
        if act == "again" and left:
            self.switch(draw.choice(left), at)
        elif act in {"switch", "again"} or not older:
            number = len(self.world.contents) + 1
            content = content_of(number)
            for user in self.erased:  # whom nobody publishes again
                content.users.pop(user, None)
            self.world.publish(number, content)
            self.switch(number, at)
        elif act == "roll back":
            number = draw.choice(older)
            self.world.roll_back(number, at=at)
            self.switches.append((at, number))
            del self.standing[self.standing.index(number) + 1 :]
        elif act == "erase":
            self.erased.add(user := f"u{draw.randrange(1, 45)}")
            self.world.erase(user)
        else:
            self.retired.add(number := draw.choice(older))
            self.world.retire(number)

    def switch(self, number: int, at: datetime) -> None:
        """Let ``stable`` be a version from then on."""
        self.world.promote(number, at=at)
        self.switches.append((at, number))
        self.standing.append(number)

    def at(self, instant: datetime, side: Side, one: str) -> tuple[str | None, bool, np.ndarray]:
        """The version that was served then, whether it held the id, and the vector it answered."""
        began = [number for since, number in self.switches if since <= instant]
        if not began:
            return None, False, np.zeros(8, np.float32)
        content = self.world.contents[began[-1]]
        held = content.users if side == "user" else content.items
        nobody = content.default if side == "user" else np.zeros(8, np.float32)
        return f"v{began[-1]}", one in held, held.get(one, nobody)


def probe(past: Past, draw: Random, count: int) -> None:
    """Ask Feast and the store's client what was served at random instants, and at switches."""
    first, last = past.switches[0][0], past.switches[-1][0]
    span = (last - first) / US
    instants = [
        draw.choice(past.switches)[0] + draw.randrange(-1, 2) * US
        if draw.random() < 0.3
        else first + draw.uniform(-0.1, 1.1) * span * US
        for _ in range(count)
    ]
    users = [f"u{draw.randrange(0, 60)}" for _ in range(count)]
    items = [f"i{draw.randrange(0, 14)}" for _ in range(count)]
    rows = pd.DataFrame(
        {"event_timestamp": pd.to_datetime(instants), "user_id": users, "item_id": items}
    )

    frame = open_features(past.world.feast).training_frame(rows, allow_unserved=True)

    ids: dict[Side, list[str]] = {"user": users, "item": items}
    for side in SIDES:
        want = [past.at(at, side, one) for at, one in zip(instants, ids[side], strict=True)]
        assert frame.versions.tolist() == [version for version, _, _ in want]
        assert frame.sides[side].is_found.tolist() == [is_found for _, is_found, _ in want]
        vectors = np.stack([vector for _, _, vector in want])
        np.testing.assert_array_equal(frame.sides[side].vectors, vectors)
    was_served = np.zeros(count, dtype=bool)
    for held, version in EmbeddingClient(past.world.store.root).served_at(instants):
        was_served[held] = True
        assert {version.name} == set(frame.versions[held])
        answer = version.users([users[row] for row in held])
        np.testing.assert_array_equal(answer.vectors, frame.users.vectors[held])
    assert (was_served == frame.is_served).all()


def live_and_probe(world: FeastWorld, *, seed: int, probes: int) -> Counter:
    """Live through a random history, and probe it on the way and at its end."""
    past, draw = Past(world), Random(seed)
    for num_steps in (4, 6, 8):
        for _ in range(num_steps):
            past.go_on(draw)
            if draw.random() < 0.3:  # between these, Feast follows several changes at once
                reconcile(world.root)
        reconcile(world.root)
        probe(past, draw, probes // 3 + 1)
    return Counter(entry.kind for entry in world.store.log.entries())


def test_what_was_served_is_answered_through_a_random_past(tmp_path: Path) -> None:
    met: Counter = Counter()
    for seed in range(2):
        met += live_and_probe(FeastWorld(tmp_path / str(seed)), seed=seed, probes=150)
    assert {"alias_set", "version_rolled_back", "versions_erased", "version_retired"} <= {*met}


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_ten_thousand_probes_of_random_pasts(tmp_path: Path) -> None:
    met: Counter = Counter()
    for seed in range(10):
        met += live_and_probe(FeastWorld(tmp_path / str(seed)), seed=seed, probes=1_000)
    assert met["version_rolled_back"] > 10
    assert met["versions_erased"] > 10
