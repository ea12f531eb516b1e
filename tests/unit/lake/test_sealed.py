import json

import pytest

from lake.sealed import json_object, sealed, unsealed


def test_what_was_sealed_is_unsealed() -> None:
    fields = {"a": (1, 2), "b": {"c": 0.1}, "d": None}
    read = json_object(json.dumps(sealed(fields)).encode())
    assert unsealed(read) == {"a": [1, 2], "b": {"c": 0.1}, "d": None}


@pytest.mark.parametrize("change", [{"a": 2}, {"b": 1}, {"sha256": "0"}, {"a": "1"}])
def test_any_change_breaks_the_seal(change: dict) -> None:
    with pytest.raises(ValueError, match="its seal is"):
        unsealed({**sealed({"a": 1}), **change})


@pytest.mark.parametrize("data", [b"", b"7", b"[]", b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_no_object_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"want an object|nested|Expecting|decode"):
        json_object(data)
