from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from lake.errors import LakeError, MissingArtifactError
from lake.objects import Objects, get_all

WRITERS, RACES = 16, 5


def test_what_was_put_is_what_is_got(objects: Objects) -> None:
    objects.put("a/b", b"one")
    assert objects.get("a/b") == b"one"
    objects.put("a/b", b"")
    assert objects.get("a/b") == b""


def test_a_taken_key_keeps_its_blob(objects: Objects) -> None:
    assert objects.put_if_absent("slot", b"first")
    assert not objects.put_if_absent("slot", b"second")
    assert not objects.put_if_absent("slot", b"first"), "equal bytes are no excuse"
    assert objects.get("slot") == b"first"


def test_one_of_many_writers_gets_the_key(objects: Objects) -> None:
    for race in range(RACES):
        with ThreadPoolExecutor(WRITERS) as writers:
            won = list(
                writers.map(
                    lambda n, key=f"race/{race}": objects.put_if_absent(key, str(n).encode()),
                    range(WRITERS),
                )
            )
        assert sum(won) == 1
        assert objects.get(f"race/{race}") == str(won.index(True)).encode()


def test_a_missing_key_is_named(objects: Objects) -> None:
    with pytest.raises(MissingArtifactError, match="nowhere/at/all"):
        objects.get("nowhere/at/all")


def test_a_folder_is_listed_in_order_and_without_its_neighbours(objects: Objects) -> None:
    for key in ("log/2", "log/10", "log/deep/1", "logs/1", "log.json"):
        objects.put(key, b"x")
    assert list(objects.list("log")) == ["log/10", "log/2", "log/deep/1"]
    assert list(objects.list("empty")) == []
    assert list(objects.list("log", after="log/10")) == ["log/2", "log/deep/1"]


def test_a_blob_tells_when_it_was_written(objects: Objects) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)  # S3 tells whole seconds
    objects.put("a", b"one")
    assert before <= objects.written_at("a") <= datetime.now(UTC) + timedelta(seconds=2)
    with pytest.raises(MissingArtifactError, match="none"):
        objects.written_at("none")


def test_several_keys_come_in_the_order_asked_for(objects: Objects) -> None:
    keys = [f"many/{number}" for number in range(25)]
    for key in keys:
        objects.put(key, key.encode())
    assert get_all(objects, keys[::-1]) == [key.encode() for key in keys[::-1]]
    with pytest.raises(MissingArtifactError, match="none"):
        get_all(objects, [*keys, "many/none"])


def test_a_deleted_key_is_free(objects: Objects) -> None:
    objects.put("slot", b"x")
    objects.delete("slot")
    objects.delete("slot")
    assert objects.put_if_absent("slot", b"y")


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../up", "a/../../up"])
def test_a_key_never_leaves_its_root(objects: Objects, key: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: objects.get(key),
        lambda: objects.put(key, b""),
        lambda: objects.put_if_absent(key, b""),
        lambda: list(objects.list(key)),
        lambda: objects.delete(key),
    ]
    for call in calls:
        with pytest.raises(LakeError, match="relative path"):
            call()
