import numpy as np
import pandas as pd
import pytest

from feature_repo.errors import HistoryError
from feature_repo.folder import FeastFolder
from feature_repo.lookup import Features, open_features
from feature_repo.projection import reconcile
from feature_repo.registry import open_plainly
from tests.unit.feature_repo.small_world import SmallWorld, instant

# v1 from day 2, v2 from day 3, v3 from day 4, back to v2 from day 5
SERVED = ((2, 1), (3, 2), (4, 3), (5, 2))


def serve(world: SmallWorld) -> None:
    for number in (1, 2, 3):
        world.publish(number)
    for day, number in SERVED[:3]:
        world.promote(number, at=instant(day))
    world.roll_back(2, at=instant(5))
    reconcile(world.root)


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    """Three versions and a rollback; read-only."""
    world = SmallWorld(tmp_path_factory.mktemp("replay"))
    serve(world)
    return world


@pytest.fixture
def features(replay: SmallWorld) -> Features:
    return open_features(replay.feast)


def served_on(day: float) -> int:
    return [number for since, number in SERVED if since <= day][-1]


def rows(*asked: tuple[str, str, float]) -> pd.DataFrame:
    users, items, days = zip(*asked, strict=True)
    return pd.DataFrame(
        {
            "user_id": users,
            "item_id": items,
            "event_timestamp": pd.to_datetime([instant(day) for day in days], utc=True),
        }
    )


def test_every_row_gets_what_was_served_then_also_after_a_rollback(
    replay: SmallWorld, features: Features
) -> None:
    draw = np.random.default_rng(0)
    days = [*draw.uniform(2, 6, size=200).tolist(), 2.0, 3.0, 4.0, 5.0]
    asked = [(f"u{draw.integers(0, 45)}", f"i{draw.integers(0, 12)}", day) for day in days]

    frame = features.training_frame(rows(*asked))

    assert frame.versions.tolist() == [f"v{served_on(day)}" for *_, day in asked]
    assert frame.is_served.all()
    for row, (user, item, day) in enumerate(asked):
        content = replay.contents[served_on(day)]
        assert frame.users.is_found[row] == (user in content.users)
        want = content.users.get(user, content.default)
        assert np.array_equal(frame.users.vectors[row], want), (user, day)
        assert np.array_equal(frame.items.vectors[row], content.items[item])


def test_what_was_served_is_what_the_online_look_up_answered(
    replay: SmallWorld, features: Features
) -> None:
    ids = [f"u{one}" for one in range(45)]

    then = features.training_frame(rows(*[(one, "i1", 5.5) for one in ids]))
    now = features.users(ids)

    assert np.array_equal(then.users.vectors, now.vectors)
    assert np.array_equal(then.users.is_found, now.is_found)


def test_a_user_who_left_is_not_answered_by_an_older_version(features: Features) -> None:
    frame = features.training_frame(rows(("u1", "i1", 2.5), ("u1", "i1", 3.5)))

    assert frame.users.is_found.tolist() == [True, False]


def test_equal_rows_and_rows_of_nobody_known_are_all_kept(features: Features) -> None:
    frame = features.training_frame(
        rows(*[("u5", "i1", 2.5)] * 3, ("ghost", "nothing", 2.5), ("u5", "i1", 2.5))
    )

    assert frame.users.is_found.tolist() == [True, True, True, False, True]
    assert frame.items.is_found.tolist() == [True, True, True, False, True]
    assert not frame.items.vectors[3].any()


def test_one_side_can_be_joined_alone(features: Features) -> None:
    frame = features.training_frame(rows(("u5", "i1", 2.5)).drop(columns="item_id"))

    assert frame.users.is_found.all()
    assert set(frame.sides) == {"user"}


def test_rows_from_before_the_first_switch_are_refused_with_their_number(
    features: Features,
) -> None:
    asked = rows(("u5", "i1", 1.0), ("u5", "i1", 1.9), ("u5", "i1", 2.0))

    with pytest.raises(HistoryError, match="2 of 3 rows are from before the first switch"):
        features.training_frame(asked)


def test_rows_from_before_the_first_switch_come_back_unserved_when_asked_for(
    replay: SmallWorld, features: Features
) -> None:
    asked = rows(("u5", "i1", 1.0), ("u5", "i1", 2.0))

    frame = features.training_frame(asked, allow_unserved=True)

    assert frame.is_served.tolist() == [False, True]
    assert frame.versions.tolist() == [None, "v1"]
    assert not frame.users.vectors[0].any()
    assert np.array_equal(frame.users.vectors[1], replay.contents[1].users["u5"])


def test_only_unserved_rows_need_no_join(features: Features) -> None:
    frame = features.training_frame(rows(("u5", "i1", 0.5)), allow_unserved=True)

    assert not frame.is_served.any()
    assert frame.users.vectors.shape == (1, 8)


@pytest.mark.parametrize("side", ["user", "item"])
def test_a_lost_part_of_the_history_is_an_error_not_an_older_answer(
    world: SmallWorld, side: str
) -> None:
    serve(world)
    second = sorted((world.root / "store" / "history" / "f1" / side).iterdir())[1]
    second.unlink()

    with pytest.raises(HistoryError, match=rf"history of {side}s has no part .* v2"):
        open_features(world.feast).training_frame(rows(("u5", "i1", 3.5)))

    reconcile(world.root)
    frame = open_features(world.feast).training_frame(rows(("u5", "i1", 3.5)))
    assert np.array_equal(frame.users.vectors[0], world.contents[2].users["u5"])


def test_instants_without_a_time_zone_are_refused(features: Features) -> None:
    asked = rows(("u5", "i1", 2.5))
    asked["event_timestamp"] = asked["event_timestamp"].dt.tz_localize(None)

    with pytest.raises(HistoryError, match="want instants with a time zone"):
        features.training_frame(asked)


def test_missing_instants_are_refused(features: Features) -> None:
    asked = rows(("u5", "i1", 2.5), ("u6", "i1", 2.5))
    asked.loc[1, "event_timestamp"] = pd.NaT

    with pytest.raises(HistoryError, match="1 rows have none"):
        features.training_frame(asked)


def test_rows_without_an_id_column_are_refused(features: Features) -> None:
    with pytest.raises(ValueError, match="want user_id or item_id"):
        features.training_frame(rows(("u5", "i1", 2.5))[["event_timestamp"]])


def test_a_plain_feast_join_through_the_service_agrees(
    replay: SmallWorld, features: Features
) -> None:
    asked = rows(("u5", "i1", 2.5), ("u6", "i2", 3.5), ("u7", "i3", 4.5), ("u8", "i4", 5.5))
    store = open_plainly(FeastFolder(replay.feast))

    plain = store.get_historical_features(
        entity_df=asked,
        features=store.get_feature_service("embeddings_f1_stable"),
        full_feature_names=True,
    ).to_df()
    ours = features.training_frame(asked)

    plain = plain.sort_values("event_timestamp")
    assert plain["user_embedding__version"].tolist() == ours.versions.tolist()
    assert np.array_equal(np.stack(plain["user_embedding__embedding"]), ours.users.vectors)
    assert np.array_equal(np.stack(plain["item_embedding__embedding"]), ours.items.vectors)


def test_the_service_of_both_sides_wants_both_ids(features: Features) -> None:
    with pytest.raises(KeyError, match=r"Missing join key values for keys: .'item_id'"):
        features._store.get_online_features(
            features=features.service(),
            entity_rows={"user_id": ["u5"]},
            full_feature_names=True,
        )
