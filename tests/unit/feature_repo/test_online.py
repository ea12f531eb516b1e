import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from feature_repo.errors import OnlineRowsError
from feature_repo.folder import FeastFolder
from feature_repo.lookup import open_features
from feature_repo.online import SAMPLE_ROWS, OnlineRows, sample_rows
from feature_repo.projection import reconcile
from feature_repo.registry import open_for_reading
from feature_repo.rendering import render
from feature_repo.served import read_state, served_frames
from tests.unit.feature_repo.small_world import SmallWorld, content_of

USERS = "marquee_user_embedding__f1__v1"
SOME_VECTOR = f"(SELECT value FROM {USERS} WHERE feature_name = 'embedding' LIMIT 1)"


@contextmanager
def online(world: SmallWorld) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(world.feast / "online.db")) as connection, connection:
        yield connection


def user_rows(world: SmallWorld) -> OnlineRows:
    frames = served_frames(world.store, read_state(world.store)).frames
    folder = FeastFolder.of(world.root)
    version = frames[0].versions[0]
    return OnlineRows(
        store=open_for_reading(folder),
        version=version,
        side="user",
        view=render(frames, log_seq=2).views[version.view("user")],
    )


def test_rows_that_are_there_are_not_written_again(served: SmallWorld) -> None:
    assert user_rows(served).complete() == 0


def test_readers_are_never_blocked_by_the_writer(served: SmallWorld) -> None:
    with online(served) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute(f"DELETE FROM {USERS}")

        assert open_features(served.feast).users(["u1"]).is_found.all()
        writer.rollback()


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (f"DELETE FROM {USERS} WHERE rowid % 7 = 0", "want 40 online rows"),
        (f"DROP TABLE {USERS}", "got no table"),
        (
            f"UPDATE {USERS} SET value = {SOME_VECTOR} WHERE feature_name = 'embedding'",
            "does not read back as published",
        ),
        (
            f"UPDATE {USERS} SET value = {SOME_VECTOR} WHERE feature_name = 'version'",
            "does not read back as published",
        ),
    ],
    ids=["lost rows", "lost table", "other vectors", "other version"],
)
def test_harm_to_the_rows_is_seen_and_repaired(served: SmallWorld, harm: str, what: str) -> None:
    with online(served) as connection:
        connection.execute(harm)
    with pytest.raises(OnlineRowsError, match=what):
        user_rows(served).check()

    assert reconcile(served.root).written == {"user_embedding__f1__v1": 40}
    user_rows(served).check()


def test_harm_to_one_row_of_a_version_on_trial_is_seen_wherever_it_lies(world: SmallWorld) -> None:
    """As after a kill between writing and reading back; each is in every sample, being few."""
    world.publish(1, content_of(1, num_users=900))
    reconcile(world.root)
    for row in (0, 450, 899):
        with online(world) as connection:
            connection.execute(
                f"UPDATE {USERS} SET value = {SOME_VECTOR} WHERE feature_name = 'embedding' AND "
                f"entity_key = (SELECT DISTINCT entity_key FROM {USERS} "
                f"WHERE value IS NOT {SOME_VECTOR} ORDER BY 1 LIMIT 1 OFFSET {min(row, 898)})"
            )

        assert reconcile(world.root).written == {"user_embedding__f1__v1": 900}


def test_a_thousand_rows_of_all_parts_are_read_back_other_ones_for_each_version(
    world: SmallWorld,
) -> None:
    drawn = []
    for number in (1, 2):
        world.publish(number, content_of(7, num_users=4_000))
        frames = served_frames(world.store, read_state(world.store)).frames
        version = frames[0].versions[-1]
        ids, vectors = sample_rows(version, "user")
        content = world.contents[number].users
        assert len(set(ids)) == len(ids) == SAMPLE_ROWS == 1_000
        assert all((content[one] == vector).all() for one, vector in zip(ids, vectors, strict=True))
        shards = [version.files.shard(one, "user") for one in version.manifest.parts("user")]
        per_part = [len({*shard.ids.to_pylist()} & {*ids}) for shard in shards]
        assert min(per_part) > 400
        drawn.append(set(ids))
        assert sample_rows(version, "user")[0] == ids
    assert 500 <= len(drawn[0] & drawn[1]) < 700


def test_a_message_about_a_user_does_not_name_them(served: SmallWorld) -> None:
    with online(served) as connection:
        connection.execute(f"UPDATE {USERS} SET value = x'' WHERE feature_name = 'embedding'")

    with pytest.raises(OnlineRowsError) as caught:
        user_rows(served).check()
    assert not any(user in str(caught.value).split() for user in served.contents[1].users)


def test_an_erased_user_leaves_the_online_rows(served: SmallWorld) -> None:
    served.erase("u7")

    reconcile(served.root)

    found = open_features(served.feast).users(["u6", "u7"])
    assert found.is_found.tolist() == [True, False]
    with online(served) as connection:
        held = connection.execute(f"SELECT entity_key FROM {USERS}").fetchall()
    assert not any(b"u7" in key for (key,) in held)
    assert reconcile(served.root).is_noop
