"""The SQL registry of several machines: two Feast folders over one store and one PostgreSQL."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
import sqlalchemy
from feast.infra.registry import sql
from sqlalchemy import Engine

from feature_repo import apply
from feature_repo.apply import registered_log_seq
from feature_repo.errors import NotServedError, OnlineStoreError, RegistryLostError, RenderingError
from feature_repo.folder import FeastFolder
from feature_repo.lookup import Features, open_features
from feature_repo.moving import move_registry
from feature_repo.projection import confirm, reconcile
from feature_repo.registry import open_for_reading, open_plainly
from tests.online_servers import postgres
from tests.unit.feature_repo.small_world import SmallWorld, instant


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres(tmp_path_factory.mktemp("registry")) as environment:
        yield environment["MARQUEE_POSTGRES_HOST"]


@pytest.fixture
def database(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection[Any]]:
    """An empty schema that the environment leads to."""
    engines = []  # feast 0.67 never closes its connections

    def create_engine(*given: Any, **options: Any) -> Engine:
        engines.append(sqlalchemy.create_engine(*given, **options))
        return engines[-1]

    monkeypatch.setattr(sql, "create_engine", create_engine)
    with psycopg.connect(host=server, user="postgres", dbname="postgres", autocommit=True) as held:
        held.execute("DROP SCHEMA IF EXISTS registry CASCADE")
        held.execute("CREATE SCHEMA registry")
        held.execute("SET search_path TO registry")
        monkeypatch.setenv(
            "MARQUEE_REGISTRY",
            f"postgresql+psycopg://postgres@/postgres?host={server}"
            "&options=-csearch_path%3Dregistry",
        )
        yield held
    for engine in engines:
        engine.dispose()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause for readers of Feast alone, where a test has none."""
    monkeypatch.setattr(apply, "sleep", lambda _: None)


@pytest.fixture
def shared(world: SmallWorld, database: psycopg.Connection[Any]) -> SmallWorld:
    world.publish(1)
    world.promote(1, at=instant(2))
    FeastFolder.of(world.root).prepare(registry="sql")
    reconcile(world.root)
    return world


def another_machine(world: SmallWorld, folder: Path) -> Path:
    folder.mkdir()
    (folder / "store").symlink_to(world.root / "store")
    FeastFolder.of(folder).prepare(registry="sql")
    return folder


def test_ours_and_plain_feast_read_it_and_no_file_names_it(shared: SmallWorld) -> None:
    users = open_features(shared.feast).users(["u5", "?"])
    store = open_plainly(FeastFolder.of(shared.root))
    service = store.get_feature_service("embeddings_f1_stable_user")
    plain = store.get_online_features(service, [{"user_id": "u5"}]).to_dict()

    assert users.is_found.tolist() == [True, False]
    assert plain["embedding"][0] == users.vectors[0].tolist()
    assert not (shared.feast / "registry.db").exists()
    assert os.environ["MARQUEE_REGISTRY"] not in (shared.feast / "feature_store.yaml").read_text()
    assert reconcile(shared.root).is_noop
    confirm(shared.root)


def test_a_registry_moves_to_a_database_and_back(
    served: SmallWorld, database: psycopg.Connection[Any]
) -> None:
    assert move_registry(served.root, "sql").is_applied
    assert not (served.feast / "registry.db").exists()
    assert open_features(served.feast).users(["u5"]).is_found.all()

    assert move_registry(served.root, "file").is_applied
    assert open_features(served.feast).users(["u5"]).is_found.all()


def test_a_missing_database_is_named_and_the_file_stays(
    served: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in ("", "sqlite:///registry.db"):
        monkeypatch.setenv("MARQUEE_REGISTRY", url)
        with pytest.raises(OnlineStoreError, match="MARQUEE_REGISTRY: want postgresql"):
            move_registry(served.root, "sql")
    assert open_features(served.feast).users(["u5"]).is_found.all()


def test_machines_that_write_at_once_wait_for_each_other(
    shared: SmallWorld, tmp_path_factory: pytest.TempPathFactory, quick: None
) -> None:
    other = another_machine(shared, tmp_path_factory.mktemp("other") / "machine")
    shared.publish(2)
    shared.promote(2, at=instant(3))

    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(reconcile, (shared.root, other)))

    assert sorted(one.is_applied for one in reports) == [False, True]
    for root in (shared.root, other):
        assert open_features(root / "feast").users(["u5"]).version == "v2"


def test_a_writer_that_was_paused_writes_nothing_over_a_newer_apply(
    shared: SmallWorld,
    database: psycopg.Connection[Any],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = another_machine(shared, tmp_path_factory.mktemp("other") / "machine")
    shared.publish(2)
    shared.promote(2, at=instant(3))

    def paused(_: float) -> None:
        """What happens while the writer, with its new views committed, does not run."""
        monkeypatch.setattr(apply, "sleep", lambda _: None)
        database.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
        )
        shared.roll_back(1, at=instant(4))
        reconcile(other)

    monkeypatch.setattr(apply, "sleep", paused)
    with pytest.raises(RegistryLostError, match="ended this writer's session"):
        reconcile(shared.root)

    assert open_features(shared.feast).users(["u5"]).version == "v1"
    assert reconcile(shared.root).is_applied is False


def test_an_apply_of_a_shorter_log_is_refused(
    shared: SmallWorld, database: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.publish(2)
    shared.promote(2, at=instant(3))
    shown = iter([2, 99])  # as it begins, and once it would write
    monkeypatch.setattr(apply, "registered_log_seq", lambda _: next(shown))

    with pytest.raises(RenderingError, match="shows 99 entries of the log, this apply 4"):
        reconcile(shared.root)

    assert open_features(shared.feast).users(["u5"]).version == "v1"


def test_an_apply_that_was_cut_off_is_finished_by_the_next(
    shared: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.publish(2)
    shared.promote(2, at=instant(3))

    def killed(_: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(apply, "sleep", killed)
        with pytest.raises(KeyboardInterrupt):
            reconcile(shared.root)
    assert open_features(shared.feast).users(["u5"]).version == "v1"

    reconcile(shared.root)

    assert open_features(shared.feast).users(["u5"]).version == "v2"
    assert reconcile(shared.root).is_noop


def test_a_kill_within_the_switch_leaves_all_of_it_undone(
    shared: SmallWorld, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    from feature_repo.sql_registry import WholeSqlRegistry

    shared.publish(2)
    shared.promote(2, at=instant(3))
    applied: list[str] = []

    def second(self: WholeSqlRegistry, service: Any, *given: Any, **options: Any) -> None:
        if applied:
            raise KeyboardInterrupt
        applied.append(service.name)
        apply_service(self, service, *given, **options)

    apply_service = WholeSqlRegistry.apply_feature_service
    with monkeypatch.context() as cut:
        cut.setattr(WholeSqlRegistry, "apply_feature_service", second)
        with pytest.raises(KeyboardInterrupt):
            reconcile(shared.root)

    features = open_features(shared.feast)
    assert features.service().tags["version"] == features.service("user").tags["version"] == "v1"
    assert features.service("item").tags["version"] == "v1"


def await_everybody(version: str, seen: dict[str, set[str]], polls: list[Future[None]]) -> None:
    deadline = time.monotonic() + 60
    while not all(version in one for one in seen.values()):
        assert time.monotonic() < deadline, seen
        assert not any(one.done() for one in polls), [one.exception() for one in polls]
        time.sleep(0.05)


# what feast 0.67 says to who asks for a service while its cache is of before the switch
@pytest.mark.filterwarnings("ignore:The FeatureService object")
def test_who_polls_during_applies_sees_whole_answers_only(shared: SmallWorld) -> None:
    ours = open_features(shared.feast)
    store = open_plainly(FeastFolder.of(shared.root))
    seen: dict[str, set[str]] = {"ours": set(), "plain": set()}
    faults: list[str] = []
    stop = threading.Event()

    def poll(name: str, read: Any) -> None:
        while not stop.is_set():
            version, vector = read()
            want = shared.contents[int(version[1:])].users["u9"]
            if not np.array_equal(vector, want):
                faults.append(f"{name}: {version}")
            seen[name].add(version)

    def by_ours() -> tuple[str, Any]:
        pairs = ours.pairs(["u9"], ["i1"])
        return pairs.users.version, pairs.users.vectors[0]

    def by_plain() -> tuple[str, Any]:
        service = store.get_feature_service("embeddings_f1_stable")
        rows = [{"user_id": "u9", "item_id": "i1"}]
        answer = store.get_online_features(service, rows, full_feature_names=True).to_dict()
        versions = {answer[f"{side}_embedding__version"][0] for side in ("user", "item")}
        if len(versions) > 1:
            faults.append(f"plain: {versions}")
        vector = np.array(answer["user_embedding__embedding"][0], np.float32)
        return str(versions.pop()), vector

    with ThreadPoolExecutor(2) as pool:
        polls = [pool.submit(poll, "ours", by_ours), pool.submit(poll, "plain", by_plain)]

        try:
            await_everybody("v1", seen, polls)
            for number in (2, 3):
                shared.publish(number)
                shared.promote(number, at=instant(number + 1))
                reconcile(shared.root)
                await_everybody(f"v{number}", seen, polls)
            shared.roll_back(2, at=instant(9))
            reconcile(shared.root)
            time.sleep(3)
        finally:
            stop.set()
        for one in polls:
            one.result()

    assert not faults
    assert seen == {"ours": {"v1", "v2", "v3"}, "plain": {"v1", "v2", "v3"}}


def test_another_workspaces_registry_is_refused(
    shared: SmallWorld, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = SmallWorld(tmp_path_factory.mktemp("stranger"))
    stranger.publish(1)
    stranger.promote(1, at=instant(5))
    FeastFolder.of(stranger.root).prepare(registry="sql")

    with pytest.raises(RegistryLostError, match="name another database or schema"):
        reconcile(stranger.root)

    seq = registered_log_seq(open_for_reading(FeastFolder.of(shared.root)))
    assert seq == shared.store.state().seq


def test_an_empty_database_serves_nothing_yet(
    world: SmallWorld, database: psycopg.Connection[Any]
) -> None:
    FeastFolder.of(world.root).prepare(registry="sql")

    with pytest.raises(NotServedError):
        open_features(world.feast)


def test_a_database_that_is_gone_is_said_to_be_after_a_while(
    shared: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    features: Features = open_features(shared.feast)
    features.users(["u5"])
    registry = features._store.registry

    def gone() -> None:
        raise OSError("the registry's database does not answer")

    monkeypatch.setattr(registry, "proto", gone)
    monkeypatch.setattr(registry, "is_cache_valid", lambda: False)
    assert features.users(["u5"]).version == "v1"  # what it meant a moment ago
    monkeypatch.setattr("feature_repo.lookup.PATIENCE_S", -1.0)

    with pytest.raises(NotServedError, match="cannot be read"):
        features.users(["u5"])
