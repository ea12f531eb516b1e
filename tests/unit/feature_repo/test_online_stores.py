"""One suite for every online store, each against the real server."""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any, get_args

import numpy as np
import psycopg
import pytest
import redis
from feast import FeatureStore, FeatureView
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import FloatList, Value

from feature_repo import leaving
from feature_repo.errors import NotServedError, OnlineStoreError
from feature_repo.folder import FeastFolder, OnlineKind
from feature_repo.lookup import open_features
from feature_repo.moving import move_online
from feature_repo.online_tables.layout import RowLayout, layout_of
from feature_repo.online_tables.opening import open_table
from feature_repo.online_tables.table import OnlineTable
from feature_repo.projection import confirm, reconcile
from feature_repo.push import push_users
from feature_repo.registry import open_for_reading
from tests.online_servers import postgres, valkey
from tests.unit.feature_repo.small_world import SmallWorld, content_of, instant

# feast 0.67 never closes its connection to PostgreSQL
pytestmark = pytest.mark.filterwarnings("ignore:.*BaseConnection.__del__")

USERS = "user_embedding__f1__v1"


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Mapping[str, str]]]:
    with valkey() as of_redis, postgres(tmp_path_factory.mktemp("postgres")) as of_postgres:
        yield {"sqlite": {}, "redis": of_redis, "postgres": of_postgres}


@pytest.fixture(params=get_args(OnlineKind))
def kind(
    request: pytest.FixtureRequest,
    servers: dict[str, Mapping[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> OnlineKind:
    chosen: OnlineKind = request.param
    for name, value in servers[chosen].items():
        monkeypatch.setenv(name, value)
    return chosen


@pytest.fixture
def shown(world: SmallWorld, kind: OnlineKind, servers: dict[str, Any]) -> SmallWorld:
    """A stable version whose online rows lie in the store."""
    empty(kind, servers)
    FeastFolder.of(world.root).prepare(kind)
    world.publish(1)
    world.promote(1, at=instant(2))
    reconcile(world.root)
    return world


def empty(kind: OnlineKind, servers: dict[str, Any]) -> None:
    if kind == "redis":
        redis_client(servers).flushall()
    if kind == "postgres":
        with connected(servers) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")


def redis_client(servers: dict[str, Any]) -> Any:
    host, port = servers["redis"]["MARQUEE_REDIS"].split(":")
    return redis.Redis(host=host, port=int(port))


def connected(servers: dict[str, Any]) -> psycopg.Connection[Any]:
    host = servers["postgres"]["MARQUEE_POSTGRES_HOST"]
    return psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True)


def held(kind: OnlineKind, servers: dict[str, Any], world: SmallWorld) -> Any:
    """Return everything that the store holds of the users' rows, as it lies there."""
    query = f'SELECT * FROM "marquee_{USERS}" ORDER BY entity_key, feature_name'
    if kind == "sqlite":
        with closing(sqlite3.connect(world.feast / "online.db")) as connection:
            return connection.execute(query).fetchall()
    if kind == "postgres":
        with connected(servers) as remote:
            return remote.execute(query).fetchall()
    client = redis_client(servers)
    keys = sorted(client.keys(b"*user_id*marquee"))
    return [(key, client.hgetall(key)) for key in keys]


def opened(world: SmallWorld) -> tuple[FeatureStore, FeatureView, RowLayout, OnlineTable]:
    store = open_for_reading(FeastFolder.of(world.root))
    view = store.get_feature_view(USERS)
    layout = layout_of("user", view.tags)
    return store, view, layout, open_table(store, USERS, layout)


def test_what_is_published_is_served_bit_by_bit(shown: SmallWorld) -> None:
    assert reconcile(shown.root).is_noop
    assert confirm(shown.root)["user rows"] == 40

    users = open_features(shown.feast).users(["u5", "nobody", "u5"])

    assert users.is_found.tolist() == [True, False, True]
    np.testing.assert_array_equal(users.vectors[0], shown.contents[1].users["u5"])
    np.testing.assert_array_equal(users.vectors[1], shown.contents[1].default)


def test_the_bytes_are_those_that_feast_writes(
    shown: SmallWorld, kind: OnlineKind, servers: dict[str, Any]
) -> None:
    ours = held(kind, servers, shown)
    store, view, layout, table = opened(shown)
    users = shown.contents[1].users
    assert table.keep_only(set()) == len(users)
    assert held(kind, servers, shown) == []
    rows: list[tuple[EntityKey, dict[str, Value], datetime, None]] = [
        (
            EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=one)]),
            {
                "embedding": Value(float_list_val=FloatList(val=vector.tolist())),
                "version": Value(string_val=layout.version),
            },
            layout.as_of,
            None,
        )
        for one, vector in users.items()
    ]

    store.provider.online_write_batch(store.config, view, rows, None)

    assert held(kind, servers, shown) == ours


def test_rows_that_were_lost_are_written_again(shown: SmallWorld, kind: OnlineKind) -> None:
    _, _, layout, table = opened(shown)
    users = list(shown.contents[1].users)
    table.keep_only(set(layout.keys(users[:30])))
    if kind == "redis":  # which cannot count: a sample is read back
        table.keep_only(set())

    assert reconcile(shown.root).written == {USERS: 40}
    assert open_features(shown.feast).users(users).is_found.all()


def test_an_erased_user_leaves_the_rows(
    shown: SmallWorld, kind: OnlineKind, servers: dict[str, Any]
) -> None:
    shown.erase("u7")

    reconcile(shown.root)

    assert open_features(shown.feast).users(["u6", "u7"]).is_found.tolist() == [True, False]
    assert b"u7" not in repr(held(kind, servers, shown)).encode()
    assert reconcile(shown.root).is_noop


def test_writing_that_was_cut_off_is_finished_and_leaves_nobody_else(
    shown: SmallWorld, kind: OnlineKind, servers: dict[str, Any]
) -> None:
    _, _, layout, table = opened(shown)
    stranger = np.ones((1, layout.dim), np.float32)
    table.write(layout.keys(["u7777"]), layout.values(stranger))

    assert reconcile(shown.root).written == {USERS: 40}
    assert not open_features(shown.feast).users(["u7777"]).is_found.any()
    assert b"u7777" not in repr(held(kind, servers, shown)).encode()


def test_a_retired_version_answers_nobody(shown: SmallWorld) -> None:
    pinned = open_features(shown.feast).pinned()
    following = open_features(shown.feast)
    assert following.users(["u5"]).version == "v1"
    shown.publish(2)
    shown.promote(2, at=instant(3))
    shown.retire(1)
    reconcile(shown.root)

    with pytest.raises(NotServedError, match="v1 has no online rows: it was retired"):
        pinned.users(["u5"])
    assert following.users(["u5"]).version == "v2"


def test_rows_move_from_one_store_to_another(
    shown: SmallWorld, kind: OnlineKind, servers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    other: OnlineKind = "postgres" if kind == "sqlite" else "sqlite"
    for name, value in servers[other].items():
        monkeypatch.setenv(name, value)
    empty(other, servers)

    moved = move_online(shown.root, other)

    assert sum(moved.written.values()) == 52
    assert open_features(shown.feast).users(["u5", "?"]).is_found.tolist() == [True, False]
    if kind == "sqlite":
        assert not list(shown.feast.glob("online.db*"))
    else:
        assert held(kind, servers, shown) == []
    assert move_online(shown.root, other).is_noop


def test_a_move_that_fails_leaves_the_old_store_in_use(
    served: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARQUEE_REDIS", "127.0.0.1:1")  # nobody answers

    with pytest.raises(redis.exceptions.ConnectionError):
        move_online(served.root, "redis")

    assert reconcile(served.root).is_noop
    assert open_features(served.feast).users(["u5"]).is_found.all()


@pytest.mark.parametrize("kind", ["redis", "postgres"], indirect=True)
@pytest.mark.parametrize("is_reconciled", [False, True])
def test_a_move_that_was_killed_is_finished_by_the_same_call(
    shown: SmallWorld,
    kind: OnlineKind,
    servers: dict[str, Any],
    *,
    is_reconciled: bool,
) -> None:
    folder = FeastFolder.of(shown.root)
    if (child := os.fork()) == 0:
        name = "empty_left" if is_reconciled else "note_left"
        act = getattr(leaving, name)

        def die(*given: Any, **named: Any) -> None:
            if not is_reconciled:
                act(*given, **named)
                folder.prepare("sqlite")
            os._exit(9)

        setattr(leaving, name, die)
        move_online(shown.root, "sqlite")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(held(kind, servers, shown)) > 0

    move_online(shown.root, "sqlite")

    assert held(kind, servers, shown) == []
    assert open_features(shown.feast).users(["u5"]).is_found.all()
    assert not folder.left.exists()


@pytest.mark.parametrize("kind", ["redis", "postgres"], indirect=True)
def test_a_server_with_another_workspaces_rows_is_refused_until_that_moved_away(
    shown: SmallWorld, kind: OnlineKind, servers: dict[str, Any], tmp_path_factory: Any
) -> None:
    ours = held(kind, servers, shown)
    other = SmallWorld(tmp_path_factory.mktemp("other"))
    other.publish(1, content_of(9))
    other.promote(1, at=instant(2))

    with pytest.raises(
        OnlineStoreError, match=f"this one has the rows of workspace .*: use .*{apart(kind)}"
    ):
        move_online(other.root, kind)

    assert held(kind, servers, shown) == ours
    move_online(shown.root, "sqlite")
    assert sum(move_online(other.root, kind).written.values()) == 52


def apart(kind: OnlineKind) -> str:
    return "MARQUEE_REDIS" if kind == "redis" else "MARQUEE_POSTGRES_SCHEMA"


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_a_missing_setting_is_named(world: SmallWorld, kind: OnlineKind) -> None:
    folder = FeastFolder.of(world.root)
    folder.prepare(kind)
    first = {"redis": "MARQUEE_REDIS", "postgres": "MARQUEE_POSTGRES_HOST"}[kind]

    with pytest.raises(OnlineStoreError, match=f"online store of .* to be {kind}: set {first}"):
        open_for_reading(folder)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("redis", "MARQUEE_REDIS"), ("postgres", "MARQUEE_POSTGRES_PORT")],
    indirect=["kind"],
)
def test_a_setting_of_another_form_is_named(
    shown: SmallWorld, kind: OnlineKind, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "nowhere")
    with pytest.raises(OnlineStoreError, match=f"{name}: want "):
        open_features(shown.feast)


def test_rows_that_are_all_lost_are_said_to_be(
    shown: SmallWorld, kind: OnlineKind, servers: dict[str, Any]
) -> None:
    if kind == "sqlite":
        with closing(sqlite3.connect(shown.feast / "online.db")) as connection:
            connection.execute(f'DROP TABLE "marquee_{USERS}"')
    empty(kind, servers)
    with pytest.raises(NotServedError, match=f"{USERS} has no online rows: they are lost"):
        open_features(shown.feast).users(["u5"])


def test_another_kind_of_store_is_refused(world: SmallWorld) -> None:
    folder = FeastFolder.of(world.root)
    folder.prepare()
    text = folder.configuration.read_text()
    folder.configuration.write_text(text.replace("type: sqlite", "type: dynamodb"))

    with pytest.raises(OnlineStoreError, match="want an online store of type sqlite, redis, postg"):
        folder.prepare()


def test_a_push_stays_until_its_user_is_erased(shown: SmallWorld) -> None:
    fresh = np.arange(1, 25, dtype=np.float32).reshape(3, 8)
    push_users(shown.root, ["u5", "u6", "guest"], fresh, version="v1")
    push_users(shown.root, ["host", "guest"], fresh[:2], version="v1")
    assert reconcile(shown.root).is_noop

    shown.erase("u6", "guest")
    reconcile(shown.root)

    users = open_features(shown.feast).users(["u5", "u6", "guest", "host"])
    assert users.is_found.tolist() == [True, False, False, True]
    assert np.array_equal(users.vectors[[0, 3]], fresh[:1].repeat(2, axis=0))
    assert sorted(table_of(shown).pushed()) == sorted(table_of(shown).layout.keys(["u5", "host"]))
    assert table_of(shown).count() == 39
    assert reconcile(shown.root).is_noop


def test_a_pushed_user_whom_the_version_has_too_is_none_of_the_pushs_own(
    shown: SmallWorld,
) -> None:
    table = table_of(shown)
    u5, u6 = table.layout.keys(["u5", "u6"])
    table.keep_only([key for key in table.layout.keys(shown.contents[1].users) if key != u5])
    push_users(shown.root, ["u5", "u6", "guest"], np.ones((3, 8), np.float32), version="v1")

    table.own([u5, u6])

    # both are the version's now, so taking them and the guest away takes two
    assert table.keep_only(set()) == len(shown.contents[1].users)
    assert table.pushed() == {}


def test_retiring_a_version_forgets_its_pushes(shown: SmallWorld) -> None:
    push_users(shown.root, ["u5", "guest"], np.ones((2, 8), np.float32), version="v1")
    shown.publish(2)
    shown.promote(2, at=instant(3))
    reconcile(shown.root)
    notes = table_of(shown)

    shown.retire(1)
    reconcile(shown.root)

    assert notes.pushed() == {}


def table_of(world: SmallWorld) -> OnlineTable:
    store = open_for_reading(FeastFolder.of(world.root))
    return open_table(store, USERS, layout_of("user", store.get_feature_view(USERS).tags))
