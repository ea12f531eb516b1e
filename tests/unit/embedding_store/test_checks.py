import gzip
import json

import pytest

from embedding_store.checks import check
from embedding_store.entries import ModelAccepted
from lake.log import CHECKPOINT_EVERY
from lake.sealed import sealed, unsealed
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


@pytest.fixture
def checkpointed(served: SmallWorld) -> SmallWorld:
    for number in range(CHECKPOINT_EVERY):
        model = ModelAccepted(
            partition="p", role="daily", digest="d", uri="u", logical_id=str(number)
        )
        served.publisher.accept_model(model, effective_at=instant(0), why="test")
    assert list(served.store.objects.list("log-checkpoints"))
    assert check(served.store) == []
    return served


def test_a_checkpoint_that_cannot_be_read_is_found(checkpointed: SmallWorld) -> None:
    objects = checkpointed.store.objects
    (name,) = objects.list("log-checkpoints")
    objects.put(name, b"damaged")
    problem = one_problem(checkpointed.store)
    assert name in problem
    assert "remove" in problem
    objects.delete(name)
    assert check(checkpointed.store) == []


def test_an_entry_that_is_not_what_its_checkpoint_has_is_found(checkpointed: SmallWorld) -> None:
    objects = checkpointed.store.objects
    key = f"log/{2:020d}.json"
    written = unsealed(json.loads(objects.get(key)))
    objects.put(key, json.dumps(sealed({**written, "by": "someone else"})).encode())
    assert "from entry 2 on" in one_problem(checkpointed.store)
    objects.delete(key)
    assert "is missing while" in one_problem(checkpointed.store)


def test_a_lost_entry_is_restored_from_a_checkpoint(checkpointed: SmallWorld) -> None:
    objects = checkpointed.store.objects
    key = f"log/{2:020d}.json"
    objects.delete(key)
    (name,) = objects.list("log-checkpoints")
    objects.put(key, gzip.decompress(objects.get(name)).splitlines()[2])
    assert check(checkpointed.store) == []
