"""A day's events as integers, and the table that they stand for.

Everything is done to codes, a tenth of the table's bytes; texts are looked up once, at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training.events.sessions import CANVASES, ROWS
from training.events.viewing import ACTIONS
from training.events.world import DEVICES, MARKETS, Codes, Flags, Hashes, Ints, SmallCodes
from training.schema import TIMESTAMP

Texts: TypeAlias = "pa.Array[Any]"

NONE = -1
"""The code of no value; of a position, no number."""
NEVER = np.iinfo(np.int64).min
"""The instant of what has none."""
UNKNOWN_ACTION = len(ACTIONS)
OWN, MISSING, MALFORMED, UNKNOWN_ITEM = range(4)
_MARKS = np.frombuffer(b"  mx", dtype=np.uint8)
_HEX_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedEvents:
    """Events (N) as codes: rows of a table to be."""

    number: Hashes
    """What the event's id is made of."""
    origin: SmallCodes
    """Whose the number is: the event's own, nobody's, a malformed row's, an unknown item's."""
    user: Codes
    """A user, from ``len(user_ids)`` on the empty text, or ``NONE``."""
    title: Codes
    """A title, from ``len(title_ids)`` on one that is in no catalogue, or ``NONE``."""
    action: SmallCodes
    occurred_us: Ints
    received_us: Ints
    device: SmallCodes
    market: SmallCodes
    canvas: SmallCodes
    row: SmallCodes
    position: SmallCodes
    watched_ms: Codes
    """-1: no value; any other negative number is an error on purpose."""

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.number)

    def take(self, rows: Ints) -> "CodedEvents":
        """Return some rows, in the order given."""
        return CodedEvents(**{f.name: getattr(self, f.name).take(rows) for f in fields(self)})

    @classmethod
    def concat(cls, parts: Sequence["CodedEvents"]) -> "CodedEvents":
        """Put several below each other."""
        return cls(
            **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)}
        )


def to_table(
    events: CodedEvents, *, user_ids: Texts, title_ids: Texts, schema: pa.Schema
) -> pa.Table:
    """Return the rows that the codes stand for.

    ``user_ids`` end with the empty text, ``title_ids`` go on with those that are in no catalogue.
    """
    positions = events.position.astype(np.float64)
    positions[events.position == NONE] = np.nan
    columns = {
        "event_id": _event_ids(events),
        "user_id": _texts(events.user, user_ids),
        "item_id": _texts(events.title, title_ids),
        "action": _texts(events.action, texts([*ACTIONS, "plya"])),
        "occurred_at": _instants(events.occurred_us),
        "received_at": _instants(events.received_us),
        "device": _texts(events.device, texts(DEVICES)),
        "country": _texts(events.market, texts([one[0] for one in MARKETS])),
        "locale": _texts(events.market, texts([one[1] for one in MARKETS])),
        "canvas": _texts(events.canvas, texts(CANVASES)),
        "row": _texts(events.row, texts(ROWS)),
        "position": pa.array(positions),
        "watch_duration": pa.array(
            events.watched_ms.astype(np.int64), mask=events.watched_ms == NONE
        ),
    }
    return pa.table(columns, schema=schema)


def texts(values: Sequence[str]) -> Texts:
    """Return what codes stand for."""
    return pa.array(values, pa.string())


def _texts(codes: Codes | SmallCodes, values: Texts) -> Texts:
    index = pa.array(codes, mask=_mask(codes == NONE))
    return values.take(index)  # type: ignore[arg-type]  # stubs think a mask makes it boolean


def _instants(at_us: Ints) -> "pa.Array[Any]":
    return pa.array(at_us, mask=_mask(at_us == NEVER)).cast(TIMESTAMP)


def _mask(is_none: Flags) -> Flags | None:
    return is_none if is_none.any() else None


def _event_ids(events: CodedEvents) -> Texts:
    """Return the numbers' ids, the first digit a mark on rows added to the genuine ones."""
    digits = _hex(events.number)
    is_marked = np.flatnonzero(events.origin >= MALFORMED)
    digits[is_marked, 0] = _MARKS[events.origin[is_marked]]
    return _fixed_width(digits, events.origin != MISSING)


def hex_ids(numbers: Hashes) -> Texts:
    """Return the ids that genuine events of these numbers have."""
    return _fixed_width(_hex(numbers), np.ones(len(numbers), dtype=bool))


def _hex(numbers: Hashes) -> npt.NDArray[np.uint8]:
    text = bytearray(numbers.astype(">u8").tobytes().hex(), "ascii")
    return np.frombuffer(text, dtype=np.uint8).reshape(-1, _HEX_DIGITS)


def _fixed_width(characters: npt.NDArray[np.uint8], is_valid: Flags) -> Texts:
    num_rows, width = characters.shape
    offsets = np.arange(num_rows + 1, dtype=np.int32) * np.int32(width)
    return pa.StringArray.from_buffers(
        num_rows,
        pa.py_buffer(offsets.data),
        pa.py_buffer(characters.data),
        pa.py_buffer(np.packbits(is_valid, bitorder="little").data),
    )
