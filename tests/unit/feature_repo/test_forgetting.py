"""Erased users in what Feast serves: not found, and no trace of them in any file."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo import forgetting, offline, projection
from feature_repo.errors import OnlineRowsError
from feature_repo.lookup import open_features
from feature_repo.projection import confirm, reconcile
from tests.residue import residue
from tests.unit.feature_repo.small_world import Content, SmallWorld, instant

GONE = ["erased-one", "erased-two"]


def with_the_erased(number: int) -> Content:
    draw = np.random.default_rng(number)
    users = [*GONE, *(f"user-{one}" for one in range(500))]
    return Content(
        users={one: draw.normal(size=8).astype(np.float32) for one in users},
        items={f"i{one}": draw.normal(size=8).astype(np.float32) for one in range(12)},
        default=np.full(8, number, dtype=np.float32),
    )


@pytest.fixture
def served(world: SmallWorld) -> SmallWorld:
    """Two versions that were stable, and a retired one whose tables were dropped."""
    for number in (1, 2, 3):
        world.publish(number, with_the_erased(number))
        world.promote(number, at=instant(number))
        reconcile(world.root)
    world.roll_back(2, at=instant(4))
    world.retire(3)
    reconcile(world.root)
    _leave_free_pages(world)
    return world


def _leave_free_pages(world: SmallWorld) -> None:
    """Drop a table as an SQLite does that is not built to overwrite what it deletes."""
    with reading(world) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("CREATE TABLE marquee_user_embedding__f1__v9 (entity_key BLOB)")
        rows = [(one.encode() * 9,) for one in GONE for _ in range(500)]
        connection.executemany("INSERT INTO marquee_user_embedding__f1__v9 VALUES (?)", rows)
        connection.execute("DROP TABLE marquee_user_embedding__f1__v9")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def reading(world: SmallWorld) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(world.feast / "online.db")) as connection:
        connection.isolation_level = None
        yield connection


def test_no_file_has_a_trace_of_an_erased_user(served: SmallWorld) -> None:
    found = residue(served.root, GONE)
    assert {Path(name).parts[0] for name in found} == {"store", "feast"}

    served.erase(*GONE)
    done = reconcile(served.root)

    assert residue(served.root, GONE) == {}
    assert done.written == {}
    assert done.damaged == ()
    assert reconcile(served.root).is_noop
    assert confirm(served.root)["user rows"] == 500


def test_an_erased_user_is_answered_as_an_unknown_one_now_and_then(served: SmallWorld) -> None:
    pinned = open_features(served.feast).pinned()
    rows = pd.DataFrame(
        {
            "user_id": [GONE[0], "user-7", GONE[0], "user-7"],
            "event_timestamp": [instant(1.5), instant(1.5), instant(2.5), instant(2.5)],
        }
    )
    before = open_features(served.feast).training_frame(rows)
    assert before.users.is_found.all()

    served.erase(*GONE)
    reconcile(served.root)

    for features in (pinned, open_features(served.feast)):
        users = features.users([GONE[0], "user-7"])
        assert users.is_found.tolist() == [False, True]
        np.testing.assert_array_equal(users.vectors[0], served.contents[2].default)
        np.testing.assert_array_equal(users.vectors[1], served.contents[2].users["user-7"])
    then = open_features(served.feast).training_frame(rows)
    assert then.versions.tolist() == before.versions.tolist() == ["v1", "v1", "v2", "v2"]
    assert then.users.is_found.tolist() == [False, True, False, True]
    np.testing.assert_array_equal(then.users.vectors[1::2], before.users.vectors[1::2])
    np.testing.assert_array_equal(then.users.vectors[0], served.contents[1].default)


def test_rows_of_the_erased_go_also_where_as_many_others_are_lost(served: SmallWorld) -> None:
    with reading(served) as connection:
        connection.execute(
            "DELETE FROM marquee_user_embedding__f1__v2 WHERE entity_key IN (SELECT DISTINCT "
            "entity_key FROM marquee_user_embedding__f1__v2 WHERE instr(entity_key, "
            "CAST('user-7' AS BLOB)) LIMIT 2)"
        )
    served.erase(*GONE)
    reconcile(served.root)

    users = open_features(served.feast).users([GONE[0], "user-7", "user-70"])
    assert users.is_found.tolist() == [False, True, True]
    assert residue(served.root, GONE) == {}


@pytest.mark.parametrize("step", ["rebuild", "apply_rendering", "forget"])
def test_a_killed_projection_is_finished_by_the_next(
    served: SmallWorld, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    served.erase(*GONE)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        module = "feature_repo.apply" if step == "apply_rendering" else projection.__name__
        patched.setattr(f"{module}.{step}", killed)
        with pytest.raises(KeyboardInterrupt):
            reconcile(served.root)
    assert residue(served.root, GONE)

    reconcile(served.root)

    assert residue(served.root, GONE) == {}
    assert reconcile(served.root).is_noop


def test_a_reader_who_never_stops_is_named_and_the_next_attempt_finishes(
    served: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.erase(*GONE)
    monkeypatch.setattr(forgetting, "_READERS_TIMEOUT_S", 0.05)
    with reading(served) as connection:
        connection.execute("BEGIN")
        table = "marquee_user_embedding__f1__v2"
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1004,)

        with pytest.raises(OnlineRowsError, match="stop its readers"):
            reconcile(served.root)

        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1004,)
        connection.execute("COMMIT")

    reconcile(served.root)
    assert residue(served.root, GONE) == {}


def test_a_join_begins_again_when_a_part_is_rewritten_under_it(
    served: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of a rewritten part are other users' rows."""
    rows = pd.DataFrame(
        {"user_id": [GONE[0], "user-7"], "event_timestamp": [instant(2.5), instant(2.5)]}
    )
    features, take = open_features(served.feast), offline._take
    attempts = []

    def erased_meanwhile(*given: object) -> object:
        if not attempts:
            served.erase(*GONE)
        attempts.append(take(*given))
        return attempts[-1]

    monkeypatch.setattr(offline, "_take", erased_meanwhile)

    then = features.training_frame(rows)

    assert attempts[0] is None
    assert then.users.is_found.tolist() == [False, True]
    np.testing.assert_array_equal(then.users.vectors[1], served.contents[2].users["user-7"])
