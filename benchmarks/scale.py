"""What a log of any size takes, from what one core was measured to do: arithmetic, no measurement.

    python -m benchmarks.scale
    python -m benchmarks.scale --users 3e8 --events 1e11 --years 2 --core-rate 4.5e5

Every figure that was measured is an argument; its default is that of docs/benchmarks.
"""

import argparse
import math
from dataclasses import dataclass

_GIB = 1 << 30
_DAYS_PER_YEAR = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one core and one event take."""

    core_rate: float
    """Raw events per second and core, from raw files to tokens."""
    validation_share: float
    """Time of validation, as a share of ingestion."""
    raw_bytes: float
    """Of an event, as Parquet."""
    valid_bytes: float
    token_bytes: float
    """Of an event, in token files: uncompressed, to be mapped into memory."""
    bucket_bytes: float
    """Memory of a worker, per row of the bucket that it works on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The log."""

    users: float
    events: float
    years: float
    bucket_rows: float
    """Rows of one day in one bucket."""
    cores: int

    @property
    def days(self) -> float:
        """Days of history."""
        return self.years * _DAYS_PER_YEAR

    @property
    def events_per_day(self) -> float:
        """Events of one day."""
        return self.events / self.days

    @property
    def num_buckets(self) -> int:
        """Power of two that keeps a bucket of a day below ``bucket_rows``."""
        return 1 << max(0, math.ceil(math.log2(self.events_per_day / self.bucket_rows)))


def table(asked: Asked, one: Measured) -> str:
    """Return what the log takes, as Markdown."""
    buckets, rows = asked.num_buckets, asked.events_per_day / asked.num_buckets
    core_s = (1 + one.validation_share) / one.core_rate
    files = 4 * buckets  # raw, valid, quarantined, tokens
    lines = [
        ("events a day", f"{asked.events_per_day / 1e6:,.0f} million"),
        ("buckets", f"{buckets:,} of {rows / 1e3:,.0f} thousand rows a day"),
        ("users in a bucket", f"{asked.users / buckets / 1e3:,.0f} thousand"),
        ("a day, from raw to tokens", f"{asked.events_per_day * core_s / 60:,.1f} core-minutes"),
        (
            f"  on {asked.cores} cores",
            f"{asked.events_per_day * core_s / asked.cores:,.1f} seconds",
        ),
        ("the whole history, once", f"{asked.events * core_s / 3600:,.0f} core-hours"),
        (f"  on {asked.cores} cores", f"{asked.events * core_s / asked.cores / 60:,.0f} minutes"),
        ("memory of a worker", f"{rows * one.bucket_bytes / _GIB:,.2f} GiB"),
        ("memory of all workers", f"{asked.cores * rows * one.bucket_bytes / _GIB:,.0f} GiB"),
        ("files of a day", f"{files:,}"),
        ("files of the history", f"{files * asked.days / 1e6:,.2f} million"),
        ("raw events", f"{asked.events * one.raw_bytes / 1e12:,.1f} TB"),
        ("valid events", f"{asked.events * one.valid_bytes / 1e12:,.1f} TB"),
        ("tokens", f"{asked.events * one.token_bytes / 1e12:,.1f} TB"),
        ("requests to write a day", f"{files:,} PUT"),
        ("requests to read all histories", f"{buckets * asked.days:,.0f} GET"),
    ]
    return "\n".join(["| what | it takes |", "|---|---|", *(f"| {a} | {b} |" for a, b in lines)])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=float, default=3e8)
    parser.add_argument("--events", type=float, default=1e11)
    parser.add_argument("--years", type=float, default=2)
    parser.add_argument("--bucket-rows", type=float, default=6e5)
    parser.add_argument("--cores", type=int, default=256)
    parser.add_argument("--core-rate", type=float, default=6.1e5)
    parser.add_argument("--validation-share", type=float, default=0.1)
    parser.add_argument("--raw-bytes", type=float, default=24)
    parser.add_argument("--valid-bytes", type=float, default=25)
    parser.add_argument("--token-bytes", type=float, default=13)
    parser.add_argument("--bucket-bytes", type=float, default=700)
    given = parser.parse_args()
    asked = Asked(
        users=given.users,
        events=given.events,
        years=given.years,
        bucket_rows=given.bucket_rows,
        cores=given.cores,
    )
    one = Measured(
        core_rate=given.core_rate,
        validation_share=given.validation_share,
        raw_bytes=given.raw_bytes,
        valid_bytes=given.valid_bytes,
        token_bytes=given.token_bytes,
        bucket_bytes=given.bucket_bytes,
    )
    print(table(asked, one))


if __name__ == "__main__":
    main()
