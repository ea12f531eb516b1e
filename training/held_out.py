"""Users whose targets of a day no model of that day learns from: the quality gate asks them."""

from collections.abc import Iterable
from datetime import date

import numpy as np
import numpy.typing as npt

from lake.hashing import salted_buckets

_ONE_IN = 8


def is_held_out(user_ids: Iterable[str], day: date) -> npt.NDArray[np.bool_]:
    """Return for each user whether ``day`` holds them out: one in eight, drawn anew every day."""
    mask: npt.NDArray[np.bool_] = salted_buckets(user_ids, _ONE_IN, salt=day.isoformat()) == 0
    return mask
