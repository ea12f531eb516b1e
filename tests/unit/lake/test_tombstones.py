import json

import pytest

from lake.errors import CorruptArtifactError, ErasureError, UnknownFormatError
from lake.objects import MemoryObjects, Objects
from lake.tombstones import KEY_VARIABLE, Tombstones


def test_an_erased_user_is_known_from_then_on(objects: Objects) -> None:
    hashes = Tombstones(objects).add(["ann", "bob", "ann"])

    later = Tombstones(objects).read()
    assert len(hashes) == len(later) == 2
    assert "ann" in later
    assert "bob" in later
    assert "cat" not in later
    assert later.hashes == set(hashes)
    assert later.among(["cat", "ann", None]) == ["ann"]


def test_without_tombstones_nobody_is_erased(objects: Objects) -> None:
    nobody = Tombstones(objects).read()
    assert not nobody
    assert "ann" not in nobody
    assert nobody.among(["ann"]) == []


def test_no_id_is_written(objects: Objects) -> None:
    Tombstones(objects).add(["ann-of-green-gables"])
    (key,) = objects.list("tombstones")
    assert b"ann" not in objects.get(key)
    assert "ann" not in key


def test_the_same_request_twice_is_one_object(objects: Objects) -> None:
    for request in (["ann", "bob"], ["bob", "ann"], ["bob"]):
        Tombstones(objects).add(request)
    assert len(list(objects.list("tombstones"))) == 1


def test_what_others_add_is_seen_when_it_is_read_again(objects: Objects) -> None:
    here = Tombstones(objects).read()
    Tombstones(objects).add(["ann"])
    assert "ann" not in here
    assert "ann" in here.read()


@pytest.mark.parametrize(("secret", "other"), [("", "a secret"), ("a secret", "")])
def test_another_key_is_refused_and_lets_nobody_back(
    monkeypatch: pytest.MonkeyPatch, secret: str, other: str
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, secret)  # which is for entry points alone to read
    objects = MemoryObjects()
    Tombstones(objects, secret).add(["ann"])
    monkeypatch.setenv(KEY_VARIABLE, other)

    for use in (lambda one: one.read(), lambda one: one.add(["bob"])):
        with pytest.raises(ErasureError, match=KEY_VARIABLE) as refused:
            use(Tombstones(objects, other))
        assert "a secret" not in str(refused.value)
    assert len(list(objects.list("tombstones"))) == 1

    assert "ann" in Tombstones(objects, secret).read()


def test_a_secret_makes_hashes_of_its_own() -> None:
    public, secret = (Tombstones(MemoryObjects(), secret=one) for one in ("", "a secret"))
    assert public.hash_of("ann") != secret.hash_of("ann")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"format_version": 1, "key": "k"}'])
def test_a_damaged_object_is_named(data: bytes) -> None:
    objects = MemoryObjects()
    objects.put("tombstones/x.json", data)
    with pytest.raises(CorruptArtifactError, match=r"tombstones/x\.json"):
        Tombstones(objects).read()


def test_a_newer_format_is_refused() -> None:
    objects = MemoryObjects()
    objects.put(
        "tombstones/x.json", json.dumps({"format_version": 2, "key": "", "users": []}).encode()
    )
    with pytest.raises(UnknownFormatError, match="want format 1, got 2"):
        Tombstones(objects).read()
