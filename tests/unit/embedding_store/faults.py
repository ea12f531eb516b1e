"""Storage that fails as networks and servers do: late, before the work was done, or after it."""

import random
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from lake.errors import StorageError
from lake.objects import Objects

T = TypeVar("T")
_LATENCY_S = 0.005


class Faults:
    """Decides by a seed what goes wrong; ``share`` of the calls do, half of them after the work."""

    def __init__(self, seed: int, errors: Callable[[], list[Exception]], share: float) -> None:
        self._random = random.Random(seed)
        self._errors, self._share = errors, share

    def __call__(self, work: Callable[[], T]) -> T:
        if self._random.random() < 0.3:
            time.sleep(self._random.random() * _LATENCY_S)
        drawn = self._random.random()
        if drawn < self._share / 2:
            raise self._random.choice(self._errors())
        done = work()
        if drawn < self._share:
            raise self._random.choice(self._errors())
        return done

    def is_echo(self) -> bool:
        """Whether a write is repeated by the transport, whose first answer was lost."""
        return self._random.random() < self._share


def storage_errors() -> list[Exception]:
    said = ("503 SlowDown", "the connection was reset", "the read timed out")
    return [StorageError(f"a server that fails: {one}") for one in said]


class FaultyObjects:
    """Other objects behind a network that fails."""

    def __init__(self, objects: Objects, seed: int, share: float = 0.04) -> None:
        self.objects, self._faults = objects, Faults(seed, storage_errors, share)

    def __str__(self) -> str:
        return str(self.objects)

    def get(self, key: str) -> bytes:
        return self._faults(lambda: self.objects.get(key))

    def put(self, key: str, data: bytes) -> None:
        self._faults(lambda: self.objects.put(key, data))

    def put_if_absent(self, key: str, data: bytes) -> bool:
        if self._faults.is_echo():
            self.objects.put_if_absent(key, data)
        return self._faults(lambda: self.objects.put_if_absent(key, data))

    def list(self, prefix: str, *, after: str = "") -> Iterator[str]:
        yield from self._faults(lambda: [*self.objects.list(prefix, after=after)])

    def written_at(self, key: str) -> datetime:
        return self._faults(lambda: self.objects.written_at(key))

    def delete(self, key: str) -> None:
        self._faults(lambda: self.objects.delete(key))


def client_errors() -> list[Exception]:
    answer = {
        "Error": {"Code": "SlowDown", "Message": "please reduce your rate"},
        "ResponseMetadata": {"HTTPStatusCode": 503},
    }
    return [
        ClientError(answer, "PutObject"),
        ReadTimeoutError(endpoint_url="http://faulty"),
        ConnectionClosedError(endpoint_url="http://faulty"),
    ]


class FaultyClient:
    """A boto3 client behind a network that fails, after all of its own attempts."""

    def __init__(self, client: Any, seed: int, share: float = 0.04) -> None:
        self._client, self._faults = client, Faults(seed, client_errors, share)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(*args: Any, **fields: Any) -> Any:
            if "IfNoneMatch" in fields and self._faults.is_echo():
                self._client.put_object(*args, **{**fields, "IfNoneMatch": "*"})
            return self._faults(lambda: method(*args, **fields))

        return call

    def get_paginator(self, name: str) -> "_Pages":
        return _Pages(self._client.get_paginator(name), self._faults)


class _Pages:
    def __init__(self, pages: Any, faults: Faults) -> None:
        self._pages, self._faults = pages, faults

    def paginate(self, **fields: Any) -> Iterator[Any]:
        return iter(self._faults(lambda: [*self._pages.paginate(**fields)]))
