"""The bytes of Feast's online rows, made and read without an object per row.

A row's value is Feast's ``Value`` message of a float list. All vectors of one dimension share the
message's first bytes, and the rest is the vector itself::

    key    entity key, version 3:  join key ... | type | length | the id, UTF-8
    value  float_list_val header   | dim little-endian float32

Both headers are taken from messages that Feast's own code makes, so nothing about them is assumed
but that they come first; what is written here is what Feast writes, byte for byte.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import FloatList, Value

from embedding_store.contracts import ID_COLUMNS, Float32, Side
from feature_repo.errors import OnlineRowsError

KEY_VERSION = 3
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class RowLayout:
    """How the online rows of one side of one version are written."""

    side: Side
    dim: int
    version: str
    """The version's name, which stands in every row."""
    as_of: datetime
    """The rows' event time; with a time zone."""

    def keys(self, ids: Sequence[str]) -> list[bytes]:
        """Return Feast's entity keys of ids."""
        header, pack = self._key_header, _LENGTH.pack
        return [header + pack(len(data)) + data for data in map(str.encode, ids)]

    def ids(self, keys: Iterable[bytes]) -> list[str]:
        """Return the ids that keys are of."""
        start = len(self._key_header) + _LENGTH.size
        return [key[start:].decode() for key in keys]

    def values(self, vectors: Float32) -> list[bytes]:
        """Return Feast's values of float32[rows, dim]."""
        data = np.ascontiguousarray(vectors, dtype="<f4").tobytes()
        header, width = self._value_header, self.dim * 4
        return [header + data[start : start + width] for start in range(0, len(data), width)]

    def vectors(self, values: Sequence[bytes]) -> Float32:
        """Return float32[rows, dim] of what ``values`` returned; raises OnlineRowsError."""
        header, width = self._value_header, len(self._value_header) + self.dim * 4
        odd = next((v for v in values if len(v) != width or not v.startswith(header)), None)
        if odd is not None:
            raise OnlineRowsError(
                f"{self.side} rows of {self.version}: want values of {self.dim} numbers in "
                f"{width} bytes, got {len(odd)} bytes: run `marquee reconcile`"
            )
        joined = np.frombuffer(b"".join(values), np.uint8).reshape(len(values), width)
        vectors = np.empty((len(values), self.dim), dtype="<f4")
        vectors.view(np.uint8)[:] = joined[:, len(header) :]
        return vectors.astype(np.float32, copy=False)

    @cached_property
    def label(self) -> bytes:
        """The value of the ``version`` column."""
        return bytes(Value(string_val=self.version).SerializeToString())

    @staticmethod
    def version_in(label: bytes) -> str:
        """Return the version's name that a value of the ``version`` column holds."""
        return str(Value.FromString(label).string_val)

    @cached_property
    def _key_header(self) -> bytes:
        nobody = EntityKey(join_keys=[ID_COLUMNS[self.side]], entity_values=[Value(string_val="")])
        key = serialize_entity_key(nobody, entity_key_serialization_version=KEY_VERSION)
        return bytes(key[: -_LENGTH.size])

    @cached_property
    def _value_header(self) -> bytes:
        zeros = Value(float_list_val=FloatList(val=[0.0] * self.dim))
        return bytes(zeros.SerializeToString()[: -4 * self.dim])


def layout_of(side: Side, tags: Mapping[str, str]) -> RowLayout:
    """Return the layout of the rows behind a view or a service, by its tags."""
    as_of = datetime.fromisoformat(tags["as_of"])
    return RowLayout(side, int(tags["dim"]), tags["version"], as_of)
