"""How the vectors of a version lie in its files; whoever reads through the store gets float32.

::

    dtype     embedding                         scale      a vector is
    float32   fixed_size_list<float>[dim]                  embedding
    float16   fixed_size_list<halffloat>[dim]              embedding
    int8      fixed_size_list<int8>[dim]        float      embedding * scale, in float32

The scale is the row's largest magnitude over 127, so every row has its own resolution: vectors of
a model differ in length by orders of magnitude, and inner products add up within rows. Rounding
is to the nearest, ties to even; the same vectors give the same bytes on every machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embedding_store.errors import ContractError

_Float32 = npt.NDArray[np.float32]

DEFAULT_DTYPE = "float32"
_LEVELS = 127
"""Steps to each side of zero; -128 is not used, so that a vector and its opposite are alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """What one dtype means."""

    value_type: pa.DataType
    """Of the numbers in the column ``embedding``."""
    has_scale: bool = False
    score_tolerance: float
    """Largest change of a score by it, relative to the largest score of a probe: twice the most
    that was measured on vectors as a model's (ADR 23)."""


ENCODINGS: Mapping[str, Encoding] = {
    "float32": Encoding(value_type=pa.float32(), score_tolerance=0.0),
    "float16": Encoding(value_type=pa.float16(), score_tolerance=1e-3),
    "int8": Encoding(value_type=pa.int8(), has_scale=True, score_tolerance=2e-2),
}


def encoding_of(dtype: str) -> Encoding:
    """Return what the dtype means; raises ContractError."""
    if dtype not in ENCODINGS:
        raise ContractError(f"dtype: want one of {', '.join(ENCODINGS)}, got {dtype!r}")
    return ENCODINGS[dtype]


def encode(vectors: _Float32, dtype: str) -> tuple[npt.NDArray[Any], _Float32 | None]:
    """Return the numbers that stand for float32[rows, dim], and the rows' scales if it has any.

    What it cannot hold becomes infinite or zero, which the contract of what is read refuses.
    """
    exact = np.ascontiguousarray(vectors, dtype=np.float32)
    with np.errstate(over="ignore"):
        if not encoding_of(dtype).has_scale:
            return exact.astype(np.dtype(dtype), copy=False), None
        scales = np.abs(exact).max(axis=1, initial=0.0) / np.float32(_LEVELS)
        divisors = np.where(scales > 0, scales, np.float32(1))[:, None]
        codes = np.clip(np.rint(exact / divisors), -_LEVELS, _LEVELS)  # a tiny scale has few bits
    return codes.astype(np.int8), scales


def decode(numbers: npt.NDArray[Any], scales: _Float32 | None) -> _Float32:
    """Return float32[rows, dim], bit by bit the same everywhere; float32 is not copied."""
    vectors: _Float32 = numbers.astype(np.float32, copy=False)
    with np.errstate(over="ignore"):
        return vectors if scales is None else vectors * scales[:, None]
