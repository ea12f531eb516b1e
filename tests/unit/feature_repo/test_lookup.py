from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic

import numpy as np
import pyarrow as pa
import pytest

from embedding_store.answers import require_one_version
from embedding_store.entries import parse
from embedding_store.errors import ContractError, MixedVersionsError
from embedding_store.pinned import PATIENCE_S
from feature_repo.errors import NotServedError
from feature_repo.lookup import open_features
from feature_repo.projection import reconcile
from tests.unit.feature_repo.small_world import SmallWorld, instant


def test_known_ids_get_the_published_vectors_in_the_order_asked_for(served: SmallWorld) -> None:
    content = served.contents[1]

    users = open_features(served.feast).users(["u9", "u2", "u9"])

    assert users.ids == ("u9", "u2", "u9")
    assert users.is_found.all()
    assert users.version == "v1"
    assert users.vectors.dtype == np.float32
    want = [content.users[one] for one in ("u9", "u2", "u9")]
    assert np.array_equal(users.vectors, np.stack(want))


def test_an_unknown_user_gets_the_declared_default_and_is_not_found(served: SmallWorld) -> None:
    users = open_features(served.feast).users(["nobody", "u2"])

    assert users.is_found.tolist() == [False, True]
    assert np.array_equal(users.vectors[0], served.contents[1].default)


def test_an_unknown_item_gets_zeros_and_is_not_found(served: SmallWorld) -> None:
    items = open_features(served.feast).items(["i3", "nothing"])

    assert items.is_found.tolist() == [True, False]
    assert np.array_equal(items.vectors, np.stack([served.contents[1].items["i3"], np.zeros(8)]))


def test_ids_are_strings_of_whatever_kind(served: SmallWorld) -> None:
    features = open_features(served.feast)

    for ids in (pa.array(["u5"]), list(pa.array(["u5"])), np.array(["u5"])):
        assert features.users(ids).ids == ("u5",)
    for odd in ([5], [None], "u5"):
        with pytest.raises(ContractError, match="ids: want strings"):
            features.users(odd)


def test_asking_for_nobody_answers_nobody(served: SmallWorld) -> None:
    users = open_features(served.feast).users([])

    assert users.vectors.shape == (0, 8)
    assert users.version == "v1"


def test_pairs_score_as_the_published_vectors_do(served: SmallWorld) -> None:
    content = served.contents[1]

    pairs = open_features(served.feast).pairs(["u3", "u3", "?"], ["i1", "i2", "i1"])

    want = [
        content.users["u3"] @ content.items["i1"],
        content.users["u3"] @ content.items["i2"],
        content.default @ content.items["i1"],
    ]
    np.testing.assert_allclose(pairs.scores, want, rtol=1e-5)
    assert pairs.users.is_found.tolist() == [True, True, False]


def test_pairs_of_unequal_length_are_refused(served: SmallWorld) -> None:
    with pytest.raises(ValueError, match="as many items as users"):
        open_features(served.feast).pairs(["u1"], ["i1", "i2"])


def test_open_features_follow_a_switch_and_pinned_ones_stay(served: SmallWorld) -> None:
    features = open_features(served.feast)
    pinned = features.pinned()
    before = features.users(["u5"])
    served.publish(2)
    served.promote(2, at=instant(3))

    reconcile(served.root)

    after = features.users(["u5"])
    assert (before.version, after.version) == ("v1", "v2")
    assert np.array_equal(after.vectors[0], served.contents[2].users["u5"])
    assert pinned.version == "v1"
    assert np.array_equal(pinned.users(["u5"]).vectors, before.vectors)
    assert np.array_equal(pinned.pairs(["u5"], ["i1"]).users.vectors, before.vectors)


def test_embeddings_of_two_versions_are_not_compared(served: SmallWorld) -> None:
    features = open_features(served.feast)
    users = features.users(["u5"])
    served.publish(2)
    served.promote(2, at=instant(3))
    reconcile(served.root)

    with pytest.raises(MixedVersionsError, match="v1 and v2"):
        require_one_version(users, features.items(["i1"]))
    assert require_one_version(users) == "v1"


def test_rows_of_another_version_behind_a_service_are_refused(served: SmallWorld) -> None:
    features = open_features(served.feast)
    service = features.service("user")
    service.tags["version"] = "v9"  # as if the table held another version's rows

    held = features.pinned()
    held._held["embeddings_f1_stable_user"] = service
    with pytest.raises(MixedVersionsError, match="user rows of v1 answer for v9"):
        held.users(["u5"])


def test_pinned_features_of_a_retired_version_say_so(served: SmallWorld) -> None:
    served.publish(2)
    served.promote(2, at=instant(3))
    reconcile(served.root)
    features = open_features(served.feast)
    pinned = features.pinned()
    served.roll_back(1, at=instant(4))
    served.retire(2)
    reconcile(served.root)

    with pytest.raises(NotServedError, match="v2 has no online rows: it was retired"):
        pinned.users(["u5"])
    assert features.users(["u5"]).version == "v1"


def test_an_alias_is_followed_to_a_version_of_the_same_bytes(served: SmallWorld) -> None:
    features = open_features(served.feast)
    held = features.pinned()
    before = features.users(["u5"])
    assert (before.version, held.users(["u5"]).version) == ("v1", "v1")
    first = next(one for one in map(parse, served.store.log.entries()) if one.number == 1)
    served._log(replace(first, number=3), at=instant(8))
    served.digests[3] = served.digests[1]
    served.promote(3, at=instant(9))
    reconcile(served.root)
    features._store.registry.refresh()

    after = features.users(["u5"])

    assert (features.version, after.version) == ("v3", "v3")
    assert np.array_equal(after.vectors, before.vectors)


def test_a_workspace_that_never_published_serves_nothing(world: SmallWorld) -> None:
    with pytest.raises(NotServedError, match="serves nothing yet"):
        open_features(world.feast)
    assert not world.feast.exists()


def test_an_alias_or_frame_without_a_version_is_named(served: SmallWorld) -> None:
    with pytest.raises(NotServedError, match=r"embeddings_f1_canary: nothing is .* canary"):
        open_features(served.feast, alias="canary")
    with pytest.raises(NotServedError, match=r"embeddings_f2_stable: .* frame 1 is served"):
        open_features(served.feast, frame=2)


def test_a_lost_registry_changes_nothing_for_a_while(
    served: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = open_features(served.feast)
    before = features.users(["u5"])
    registry = served.feast / "registry.db"
    whole = registry.read_bytes()
    now = monotonic()
    for damage in (registry.unlink, lambda: registry.write_bytes(whole[:50])):
        damage()
        features._store.registry.cached_registry_proto_created = datetime(2026, 1, 1, tzinfo=UTC)
        after = features.users(["u5"])
        assert (after.version, after.is_found.all()) == (before.version, True)
        with monkeypatch.context() as patched:
            patched.setattr("feature_repo.lookup.monotonic", lambda: now + PATIENCE_S + 60)
            with pytest.raises(NotServedError, match="the feature registry cannot be read"):
                features.users(["u5"])
    registry.write_bytes(whole)
    assert features.users(["u5"]).version == before.version


def test_an_answer_belongs_to_who_asked(served: SmallWorld) -> None:
    features = open_features(served.feast).pinned()
    wanted = served.contents[1].users["u5"]

    for ids in (["u5"], ["u5", "nobody"]):
        features.users(ids).vectors[:] = 0.0

        assert np.array_equal(features.users(ids).vectors[0], wanted)


def test_a_pinned_reader_asks_the_registry_once(
    served: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = open_features(served.feast).pinned()
    features.users(["u5"])
    monkeypatch.setattr(type(features), "service", None)

    assert features.users(["u5"]).is_found.all()
