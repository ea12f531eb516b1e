import sqlite3
from functools import partial

import numpy as np
import pytest

from embedding_store.answers import Embeddings
from embedding_store.errors import ContractError, ErasedUsersError, MixedVersionsError
from feature_repo.errors import NotServedError
from feature_repo.folder import FeastFolder
from feature_repo.lookup import open_features
from feature_repo.projection import confirm, reconcile
from feature_repo.push import push_users
from feature_repo.registry import open_plainly
from tests.unit.feature_repo.small_world import SmallWorld, instant


def fresh(*values: float) -> np.ndarray:
    return np.repeat(np.array(values, np.float32)[:, None], 8, axis=1)


def users(world: SmallWorld, *ids: str) -> Embeddings:
    return open_features(world.feast).users(ids)


def test_a_push_answers_for_known_and_new_users_at_once(served: SmallWorld) -> None:
    reader = open_features(served.feast).pinned()
    reader.users(["u5"])

    pushed = push_users(served.root, ["u5", "fresh"], fresh(3, 4), version="v1")

    assert (pushed.version, pushed.num_users) == ("v1", 2)
    got = reader.users(["fresh", "u5", "u6"])
    assert got.is_found.all()
    assert np.array_equal(got.vectors[:2], fresh(4, 3))
    assert np.array_equal(got.vectors[2], served.contents[1].users["u6"])


def test_who_has_feast_alone_reads_what_was_pushed(served: SmallWorld) -> None:
    push_users(served.root, ["fresh"], fresh(4), version="v1")

    store = open_plainly(FeastFolder.of(served.root))
    service = store.get_feature_service("embeddings_f1_stable_user")
    answer = store.get_online_features(service, [{"user_id": "fresh"}]).to_dict()

    assert answer["embedding"] == [[4.0] * 8]
    assert answer["version"] == ["v1"]


def test_reconcile_finds_a_push_in_order(served: SmallWorld) -> None:
    push_users(served.root, [f"u{one}" for one in range(5, 15)], fresh(*range(1, 11)), version="v1")

    assert reconcile(served.root).is_noop
    confirm(served.root)
    assert np.array_equal(users(served, "u5").vectors, fresh(1))


def test_lost_rows_come_back_with_what_was_pushed(served: SmallWorld) -> None:
    push_users(served.root, ["u5", "fresh"], fresh(3, 4), version="v1")
    with sqlite3.connect(served.feast / "online.db") as connection:
        connection.execute('DELETE FROM "marquee_user_embedding__f1__v1"')
    connection.close()

    assert not reconcile(served.root).is_noop
    assert np.array_equal(users(served, "u5", "fresh").vectors, fresh(3, 4))
    assert reconcile(served.root).is_noop


def test_a_push_for_a_user_whose_row_was_lost_is_no_new_user(served: SmallWorld) -> None:
    table = '"marquee_user_embedding__f1__v1"'
    with sqlite3.connect(served.feast / "online.db") as connection:
        (key,) = connection.execute(f"SELECT min(entity_key) FROM {table}").fetchone()
        connection.execute(f"DELETE FROM {table} WHERE entity_key = ?", (key,))
    connection.close()
    lost = [one for one in served.contents[1].users if not users(served, one).is_found.all()]
    assert len(lost) == 1

    push_users(served.root, [*lost, "fresh"], fresh(3, 4), version="v1")
    reconcile(served.root)

    assert np.array_equal(users(served, *lost, "fresh").vectors, fresh(3, 4))
    assert reconcile(served.root).is_noop
    confirm(served.root)


def test_a_lost_pushed_row_is_written_again(served: SmallWorld) -> None:
    push_users(served.root, ["u5"], fresh(3), version="v1")
    with sqlite3.connect(served.feast / "online.db") as connection:
        connection.execute(
            'UPDATE "marquee_user_embedding__f1__v1" SET value = ? WHERE feature_name = ? '
            "AND entity_key = (SELECT entity_key FROM marquee_pushed)",
            (b"lost", "embedding"),
        )
    connection.close()

    reconcile(served.root)

    assert np.array_equal(users(served, "u5").vectors, fresh(3))


def test_the_next_version_and_a_rollback_read_other_rows(served: SmallWorld) -> None:
    push_users(served.root, ["u5"], fresh(3), version="v1")
    served.publish(2)
    served.promote(2, at=instant(3))
    reconcile(served.root)
    assert np.array_equal(users(served, "u5").vectors[0], served.contents[2].users["u5"])
    push_users(served.root, ["u5"], fresh(9), version="v2")

    served.roll_back(1, at=instant(4))
    reconcile(served.root)

    assert np.array_equal(users(served, "u5").vectors, fresh(3))


def test_vectors_of_another_version_are_refused(served: SmallWorld) -> None:
    served.publish(2)
    served.promote(2, at=instant(3))
    reconcile(served.root)

    for version in ("v1", "v7"):
        with pytest.raises(MixedVersionsError, match="frame 1 serves v2 now"):
            push_users(served.root, ["u5"], fresh(3), version=version)


def test_a_canary_takes_pushes(served: SmallWorld) -> None:
    served.publish(2)
    served.promote(2, at=instant(3), alias="canary")
    reconcile(served.root)

    push_users(served.root, ["u5"], fresh(3), version="v2")

    canary = open_features(served.feast, alias="canary").users(["u5"])
    assert np.array_equal(canary.vectors, fresh(3))
    assert np.array_equal(users(served, "u5").vectors[0], served.contents[1].users["u5"])


def test_only_what_a_version_could_hold_is_taken(served: SmallWorld) -> None:
    push = partial(push_users, served.root, version="v1")

    for ids, vectors, why in (
        (["u5", "u5"], fresh(1, 2), "repeats"),
        ([""], fresh(1), "stands for nobody"),
        (["u5"], fresh(np.nan), "not finite"),
        (["u5"], fresh(0), "zeros"),
        (["u5"], fresh(1)[:, :7], r"want float32\[1, 8\]"),
        (["u5"], fresh(1).astype(float), "want float32"),
        ("u5", fresh(1), "strings in a list"),
    ):
        with pytest.raises(ContractError, match=why):
            push(ids, vectors)
    assert np.array_equal(users(served, "u5").vectors[0], served.contents[1].users["u5"])


def test_a_version_without_rows_takes_no_push(served: SmallWorld) -> None:
    served.publish(2)
    served.promote(2, at=instant(3))

    with pytest.raises(NotServedError, match="run `marquee reconcile`"):
        push_users(served.root, ["u5"], fresh(3), version="v2")


def test_an_erased_user_is_not_pushed_back(served: SmallWorld) -> None:
    served.erase("u5")

    with pytest.raises(ErasedUsersError, match="1 of the 2 users were erased"):
        push_users(served.root, ["u5", "u6"], fresh(3, 4), version="v1")
    assert np.array_equal(users(served, "u6").vectors[0], served.contents[1].users["u6"])
