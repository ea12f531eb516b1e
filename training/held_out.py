"""Users whose targets of a day no model of that day learns from: the quality gate asks them."""

from collections.abc import Iterable
from datetime import date

import numpy as np
import numpy.typing as npt

from lake.hashing import salted_buckets


def is_held_out(user_ids: Iterable[str], day: date, *, one_in: int) -> npt.NDArray[np.bool_]:
    """Return for each user whether ``day`` holds them out: drawn anew every day."""
    mask: npt.NDArray[np.bool_] = salted_buckets(user_ids, one_in, salt=day.isoformat()) == 0
    return mask
