"""The fixed facts of the simulated world: its parameters, its randomness, its users.

Randomness is drawn from one stream per purpose and day, never from a running one, so that any day
can be generated alone and in any order with the same bytes.
"""

import zlib
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import ConfigError

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
SmallCodes = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US

# country, locale, language, hours from UTC, share of users
MARKETS: tuple[tuple[str, str, str, float, float], ...] = (
    ("US", "en-US", "en", -6.0, 0.30),
    ("GB", "en-GB", "en", 0.0, 0.10),
    ("BR", "pt-BR", "pt", -3.0, 0.12),
    ("MX", "es-MX", "es", -6.0, 0.10),
    ("ES", "es-ES", "es", 1.0, 0.06),
    ("FR", "fr-FR", "fr", 1.0, 0.07),
    ("DE", "de-DE", "de", 1.0, 0.07),
    ("IN", "hi-IN", "hi", 5.5, 0.08),
    ("JP", "ja-JP", "ja", 9.0, 0.05),
    ("KR", "ko-KR", "ko", 9.0, 0.05),
)
DEVICES = ("tv", "mobile", "web", "tablet")
_DEVICE_SHARES = (0.45, 0.30, 0.15, 0.10)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldParameters:
    """What fixes every byte of a simulated world."""

    num_users: int = 4_000
    """Users who ever join."""

    num_titles: int = 1_200
    """Titles that ever launch, those of the last week included."""

    first_day: date = date(2026, 1, 11)
    """First UTC day with events."""

    num_days: int = 25
    """Days with events."""

    sessions_per_user_day: float = 0.5
    """Mean sessions of one user on one day; users spread around it with a heavy tail."""

    seed: int = 7
    """Seed of all randomness."""

    launch_weekday: int = 0
    """Weekday on which new titles launch, Monday = 0; live titles air on the Saturday after."""

    weekly_launch_share: float = 0.02
    """Titles that launch in one week of the log, as a share of ``num_titles``."""

    late_rate: float = 0.02
    """Share of events that arrive up to 72 hours after they occurred."""

    missing_id_rate: float = 0.01
    """Share of events that arrive without an ``event_id``."""

    out_of_order_rate: float = 0.05
    """Share of rows that stand elsewhere than where their arrival would put them."""

    duplicate_rate: float = 0.01
    """Rows delivered once more, per event."""

    malformed_rate: float = 0.002
    """Rows added that break a rule (no user, negative duration, unknown action...), per event."""

    unknown_item_rate: float = 0.001
    """Rows added whose item is in no catalogue, per event."""

    def __post_init__(self) -> None:
        """Refuse sizes that make no world and rates outside [0, 1]."""
        for name in ("num_users", "num_titles", "num_days"):
            if getattr(self, name) < 1:
                raise ConfigError(f"simulated world: want {name} >= 1, got {getattr(self, name)}")
        if self.num_titles < 100:
            raise ConfigError(f"simulated world: want num_titles >= 100, got {self.num_titles}")
        if self.sessions_per_user_day <= 0:
            raise ConfigError(
                f"simulated world: want sessions_per_user_day > 0, got {self.sessions_per_user_day}"
            )
        if self.launch_weekday not in range(7):
            raise ConfigError(
                f"simulated world: want launch_weekday 0-6, got {self.launch_weekday}"
            )
        for name in asdict(self):
            value = getattr(self, name)
            if name.endswith(("_rate", "_share")) and not 0 <= value <= 1:
                raise ConfigError(f"simulated world: want {name} in [0, 1], got {value}")

    @property
    def last_day(self) -> date:
        """Last UTC day with events."""
        return self.first_day + timedelta(days=self.num_days - 1)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form: dates as ISO strings."""
        return {**asdict(self), "first_day": self.first_day.isoformat()}


def stream(seed: int, purpose: str, *keys: int) -> np.random.Generator:
    """Return the random stream of one purpose, such as the sessions of one day."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *keys])


def hashed(*keys: npt.NDArray[Any] | int) -> Hashes:
    """Return a hash of integer keys, broadcast together: randomness that needs no stream."""
    state: Hashes = np.zeros(1, dtype=np.uint64)
    for key in keys:
        state = mixed(state, key)
    return state


def mixed(state: Hashes, key: npt.NDArray[Any] | int) -> Hashes:
    """Return the hashes of what ``state`` holds the hashes of, and of one more key.

    The mixing step is splitmix64's finalizer (Steele et al., OOPSLA 2014).
    """
    state = state + np.asarray(key).astype(np.uint64)
    state += np.uint64(0x9E3779B97F4A7C15)
    state ^= state >> np.uint64(30)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    state ^= state >> np.uint64(27)
    state *= np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return state


def hashed_uniform(*keys: npt.NDArray[Any] | int) -> Floats:
    """Return a uniform draw in (0, 1) for each combination of keys."""
    return ((hashed(*keys) >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def gumbel(uniform: Floats) -> Floats:
    """Turn uniform draws into Gumbel draws: adding them to scores samples from their softmax."""
    noise: Floats = -np.log(-np.log(uniform))
    return noise


def start_us(day: date) -> int:
    """Return the first instant of a UTC day, µs since 1970."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND_US


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """Users of the world; every array has one entry (or row) per user."""

    ids: tuple[str, ...]
    market: Ints
    """Index into ``MARKETS``."""
    devices: Ints
    """int[U, 2]: the main device and the other one, indexes into ``DEVICES``."""
    activity: Floats
    """Relative number of sessions, mean 1, heavy-tailed."""
    joined: Ints
    """Day of the world, counted from 0, on which the user joins; negative: before the first."""
    is_kids: Flags
    """Profiles that only ever see the kids canvas."""


def draw_users(parameters: WorldParameters) -> Users:
    """Draw the users."""
    rng = stream(parameters.seed, "users")
    count = parameters.num_users
    activity = rng.lognormal(0.0, 1.0, count)
    joins_later = rng.random(count) < 0.1
    return Users(
        ids=tuple(f"u{index:06d}" for index in range(count)),
        market=rng.choice(len(MARKETS), count, p=[market[-1] for market in MARKETS]),
        devices=rng.choice(len(DEVICES), (count, 2), p=_DEVICE_SHARES),
        activity=activity / np.exp(0.5),  # the mean of this lognormal
        joined=np.where(joins_later, rng.integers(0, parameters.num_days, count), -1),
        is_kids=rng.random(count) < 0.08,
    )
