"""Bootstrap intervals over users of means over targets."""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from training.contracts import Float64

NUM_RESAMPLES = 1_000
_SEED = 20_250_101
_RESAMPLES_PER_CHUNK = 50


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over targets, with its 95 % interval over users."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Return the JSON form."""
        return asdict(self)


def estimates(sums_UC: Float64, counts_U: npt.NDArray[np.int64]) -> list[Estimate]:
    """Return for each column the sum over users divided by the number of targets.

    Whole users are drawn with replacement: the targets of one user are not independent. The
    draws are the same for all columns, so an interval of a difference of two columns is paired.
    """
    num_users, num_columns = sums_UC.shape
    draw = np.random.default_rng(_SEED)
    resampled = np.empty((NUM_RESAMPLES, num_columns))
    for start in range(0, NUM_RESAMPLES, _RESAMPLES_PER_CHUNK):
        chunk = min(_RESAMPLES_PER_CHUNK, NUM_RESAMPLES - start)
        drawn = draw.integers(0, num_users, (chunk, num_users))
        drawn += num_users * np.arange(chunk)[:, None]
        times = np.bincount(drawn.ravel(), minlength=chunk * num_users)
        times_BU = times.reshape(chunk, num_users).astype(np.float64)
        totals = times_BU @ counts_U
        resampled[start : start + chunk] = (times_BU @ sums_UC) / totals[:, None]
    low, high = np.quantile(resampled, (0.025, 0.975), axis=0)
    value = sums_UC.sum(axis=0) / counts_U.sum()
    return [Estimate(*map(float, one)) for one in zip(value, low, high, strict=True)]
