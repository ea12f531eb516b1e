import pytest

from embedding_store.checks import check
from tests.unit.embedding_store.small_world import SmallWorld, instant


@pytest.fixture
def served(world: SmallWorld) -> SmallWorld:
    world.serve(0, 1)
    assert check(world.store) == []
    return world


@pytest.fixture
def store(served: SmallWorld):
    return served.store


def one_problem(store) -> str:
    (problem,) = check(store)
    return problem


def folder(store, number: int):
    return store.version_folder(store.state().version(number).digest)


def test_an_empty_store_has_no_problem(world: SmallWorld) -> None:
    assert check(world.store) == []


def test_a_missing_folder_is_found(served: SmallWorld) -> None:
    with served.without_version(folder(served.store, 1).name):
        assert "v1" in one_problem(served.store)
    assert check(served.store) == []


def test_a_changed_file_is_found(store) -> None:
    (folder(store, 2) / "user_default.parquet").write_bytes(b"")
    assert "v2" in one_problem(store)


def test_a_missing_or_changed_gate_record_is_found(store) -> None:
    key = f"gates/{folder(store, 2).name}.json"
    store.objects.put(key, store.objects.get(key).replace(b"0.9", b"0.1"))
    assert "v2: the gate record" in one_problem(store)
    store.objects.delete(key)
    assert "v2: the gate record" in one_problem(store)


def test_missing_and_foreign_history_is_found(store) -> None:
    parts = sorted(store.history_folder(1, "user").iterdir())
    data = parts[0].read_bytes()
    parts[0].unlink()
    assert "missing or not of its switch" in one_problem(store)
    parts[0].write_bytes(data)
    parts[0].with_name("part-9.parquet").write_bytes(data)
    assert "not of any switch" in one_problem(store)


def test_a_log_that_cannot_be_folded_is_one_problem(store) -> None:
    store.log.append("frame_merged", {}, effective_at=instant(9), by="later", why="later")
    assert "cannot be folded" in one_problem(store)


def test_a_retired_version_may_be_gone(world: SmallWorld) -> None:
    world.serve(0, 1)
    world.publisher.retire(1, effective_at=instant(9), why="old")
    with world.without_version(folder(world.store, 1).name):
        assert check(world.store) == []
