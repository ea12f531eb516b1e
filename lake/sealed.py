"""JSON objects that prove themselves: beside its fields stands the digest of all of them.

A changed bit in a number or a name reads as well as the right one does, so what decides something
and is named by no digest elsewhere carries its own.
"""

import json
from collections.abc import Mapping
from typing import Any

from lake.digests import digest_json

SEAL = "sha256"


def sealed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields and their seal."""
    plain = json.loads(json.dumps(dict(fields)))  # as they will be read
    return {**plain, SEAL: digest_json(plain)}


def json_object(data: bytes | str) -> dict[str, Any]:
    """Return the object that ``data`` is in JSON; raises ValueError when it is none."""
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"want an object, got {type(value).__name__}")  # noqa: TRY004 - of the data
    return value


def unsealed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields without their seal; raises ValueError when one was changed."""
    plain = dict(fields)
    seal = plain.pop(SEAL, None)
    if seal != (got := digest_json(plain)):
        raise ValueError(f"its fields have the digest {got}, its seal is {seal}")
    return plain
