"""Online rows in Feast's Redis store: one hash per entity, with fields of every view.

::

    <entity key><project>   _ts:<view>            the rows' event time
                            hash of <view>:<f>    the value of feature f
    marquee:rows            <view>                how many entities have rows; -1 while written
    marquee:pushed:<view>   <entity key>          1 where only a push has the entity, 0; the value

The server cannot count a view's rows, so the number that it acknowledged is noted when the last one
is. An eviction policy would lose rows behind the note: the server must have ``noeviction``.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import mmh3
from feast.infra.key_encoding_utils import serialize_entity_key_prefix
from google.protobuf.timestamp_pb2 import Timestamp
from redis.cluster import RedisCluster

from embedding_store.contracts import ID_COLUMNS
from feature_repo.errors import NoTableError
from feature_repo.online_tables.layout import RowLayout
from feature_repo.online_tables.table import FEATURES

_ROWS = "marquee:rows"
_UNFINISHED = "-1"
_PUSHED = "marquee:pushed:"
_AT_ONCE = 2_000
"""Commands in one round trip: some hundred KiB."""


@dataclass(frozen=True)
class RedisTable:
    """The fields of one view, as Feast 0.67 writes them (``online_stores/redis.py``)."""

    client: Any
    """redis-py's; its annotations are those of its synchronous and asynchronous clients at once."""
    project: str
    view: str
    layout: RowLayout

    def count(self) -> int | None:
        """Return the number that was noted when the last row was written, -1 before that."""
        found = self.client.hget(_ROWS, self.view)
        return None if found is None else int(found)

    def write(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Write one part; a command that the server refuses raises."""
        stamp, embedding, version = self._fields
        at, label = self._at, self.layout.label
        self.client.hset(_ROWS, self.view, _UNFINISHED)
        for start in range(0, len(keys), _AT_ONCE):
            with self.client.pipeline(transaction=False) as pipe:
                for key, value in zip(
                    keys[start : start + _AT_ONCE], values[start : start + _AT_ONCE], strict=True
                ):
                    pipe.execute_command(
                        "HSET", self._key(key), stamp, at, embedding, value, version, label
                    )
                pipe.execute()

    def seal(self, num_rows: int) -> None:
        """Note how many rows the server acknowledged."""
        self.client.hset(_ROWS, self.view, str(num_rows))

    def read(self, keys: Sequence[bytes]) -> list[tuple[bytes, bytes] | None]:
        """Return embedding and version of each key, or None where the key has no row."""
        _, *fields = self._fields
        with self.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.execute_command("HMGET", self._key(key), *fields)
            answers = pipe.execute()
        if not any(version for _, version in answers) and self.count() is None:
            raise NoTableError(self.view)
        return [
            None if embedding is None or version is None else (embedding, version)
            for embedding, version in answers
        ]

    def keep_only(self, keys: Collection[bytes]) -> int:
        """Remove this view's fields of all entities but these."""
        notes = [one for one in self.client.hgetall(self._notes).items() if one[0] not in keys]
        gone, some = -sum(bytes(note).startswith(b"1") for _, note in notes), []
        kept = {self._key(key) for key in keys}
        for key in self._entities():
            if key not in kept:
                some.append(key)
            if len(some) == _AT_ONCE:
                gone += self._remove(some)
                some = []
        gone += self._remove(some)
        if notes:  # last: whoever is killed before finds the entities again
            self.client.hdel(self._notes, *(key for key, _ in notes))
        return gone

    def push(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Write and note all rows in one step, but for a cluster.

        There the notes come first, in one step: they tell of rows that a kill left unwritten.
        """
        stamp, embedding, version = self._fields
        with self.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hget(self._notes, key)
                pipe.hexists(self._key(key), version)
            found = pipe.execute()
        is_new = [
            note[:1] == b"1" if note else not is_there
            for note, is_there in zip(found[::2], found[1::2], strict=True)
        ]
        notes = {
            key: (b"1" if new else b"0") + value
            for key, value, new in zip(keys, values, is_new, strict=True)
        }
        is_cluster = isinstance(self.client, RedisCluster)  # whose steps are of one slot each
        if is_cluster:
            self.client.hset(self._notes, mapping=notes)
        with self.client.pipeline(transaction=not is_cluster) as pipe:
            if not is_cluster:
                pipe.hset(self._notes, mapping=notes)
            for key, value in zip(keys, values, strict=True):
                pipe.execute_command(
                    "HSET",
                    self._key(key),
                    *(stamp, self._at, embedding, value, version, self.layout.label),
                )
            pipe.execute()

    def own(self, keys: Sequence[bytes]) -> None:
        """Note of pushed entities that the version has them too."""
        notes = self.client.hmget(self._notes, list(keys))
        owned = {key: b"0" + note[1:] for key, note in zip(keys, notes, strict=True) if note}
        if owned:
            self.client.hset(self._notes, mapping=owned)

    def pushed(self) -> dict[bytes, bytes]:
        """Return the value of every entity that was pushed, by key."""
        return {key: note[1:] for key, note in self.client.hgetall(self._notes).items()}

    @property
    def _notes(self) -> str:
        return _PUSHED + self.view

    def _remove(self, keys: Sequence[bytes]) -> int:
        with self.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hdel(key, *self._fields)
            return sum(bool(number) for number in pipe.execute())

    def _entities(self) -> Iterator[bytes]:
        prefix = serialize_entity_key_prefix([ID_COLUMNS[self.layout.side]])
        pattern = b"".join([_literal(prefix), b"*", _literal(self.project.encode())])
        yield from self.client.scan_iter(pattern, count=_AT_ONCE)

    def _key(self, key: bytes) -> bytes:
        return key + self.project.encode()

    @cached_property
    def _fields(self) -> tuple[bytes, ...]:
        """The event time's field, the embedding's and the version's."""
        hashed = (mmh3.hash(f"{self.view}:{feature}", signed=False) for feature in FEATURES)
        return (f"_ts:{self.view}".encode(), *(one.to_bytes(4, "little") for one in hashed))

    @cached_property
    def _at(self) -> bytes:
        stamp = Timestamp()
        stamp.FromDatetime(self.layout.as_of)
        return bytes(stamp.SerializeToString())


def forget_others(client: Any, live: Collection[str]) -> None:
    """Remove the notes about all views but these, also of what was pushed into them."""
    gone = [view for view in client.hkeys(_ROWS) if view.decode() not in live]
    if gone:
        client.hdel(_ROWS, *gone)
    for key in client.scan_iter(f"{_PUSHED}*", count=_AT_ONCE):
        if key.decode().removeprefix(_PUSHED) not in live:
            client.delete(key)


def _literal(text: bytes) -> bytes:
    """Return a pattern that matches the text alone."""
    special = b"*?[]^\\"
    return b"".join(b"\\" + bytes([one]) if one in special else bytes([one]) for one in text)
