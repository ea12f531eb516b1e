"""What became of each day of a backfill: a row of figures, and the checks over all of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import dagster as dg

from assets.check_results import what_failed
from assets.checks import VALID_EVENTS, expectations_behind, severity_of
from lake.lake import Built

COUNTED = ("raw_events", "valid_events", "quarantined_events", "interaction_tokens")
"""Assets whose rows the table shows."""

NUM_SHOWN = 3
"""Days that a failed check names."""

_SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn("day"),
        *(dg.TableColumn(name, "int") for name in (*COUNTED, "made")),
        dg.TableColumn("seconds", "float"),
    ]
)


@dataclass(frozen=True, slots=True)
class DayTaken:
    """One day, as far as it came."""

    day: str
    rows: Mapping[str, int]
    """By asset of ``COUNTED``; those that were not made are not there."""
    num_made: int
    """Artifacts that were not there already."""
    seconds: float

    def record(self) -> dg.TableRecord:
        """Return the row of the table."""
        rows = {name: self.rows.get(name) for name in COUNTED}
        seconds = round(self.seconds, 2)
        return dg.TableRecord({"day": self.day, **rows, "made": self.num_made, "seconds": seconds})


@dataclass
class Account:
    """What became of the days so far."""

    days: list[DayTaken] = field(default_factory=list)
    num_skipped: int = 0
    """Artifacts that were there already."""
    refusals: dict[str, list[str]] = field(
        default_factory=lambda: {spec.name: [] for spec in VALID_EVENTS}
    )
    """By check, what failed on which day."""

    def add(self, day: str, built: Mapping[str, Built], *, seconds: float) -> None:
        """Add what was built of a day, by asset."""
        num_skipped = sum(one.is_skipped for one in built.values())
        self.num_skipped += num_skipped
        rows = {name: built[name].ref.rows for name in COUNTED if name in built}
        self.days.append(DayTaken(day, rows, len(built) - num_skipped, seconds))
        if "valid_events" in built:
            for name, behind in expectations_behind(built["valid_events"].ref).items():
                if failed := what_failed(behind):
                    self.refusals[name].append(f"{day}: {failed}")

    def metadata(self) -> dict[str, dg.MetadataValue]:
        """Return the table of days, for the run's page."""
        records = [one.record() for one in self.days]
        return {
            "skipped": dg.MetadataValue.int(self.num_skipped),
            "days": dg.MetadataValue.table(records, schema=_SCHEMA),
        }

    def evaluations(self) -> Iterator[dg.AssetCheckEvaluation]:
        """Yield each check of valid events, over all the days."""
        for spec in VALID_EVENTS:
            failed = self.refusals[spec.name]
            yield dg.AssetCheckEvaluation(
                asset_key=spec.asset_key,
                check_name=spec.name,
                passed=not failed,
                severity=severity_of(spec.name),
                blocking=spec.blocking,
                description="; ".join(failed[:NUM_SHOWN]) or None,
                metadata={"days": len(self.days), "days that fail": len(failed)},
            )

    def progress(self, num_days: int) -> str | None:
        """Return what a person wants to know of the last days; None where nothing was made."""
        last = self.days[-num_days:]
        if not any(one.num_made for one in last):
            return None
        events, tokens = (
            sum(one.rows.get(name, 0) for one in last) for name in ("raw_events", COUNTED[-1])
        )
        seconds = sum(one.seconds for one in last)
        span = f"{last[0].day} to {last[-1].day}"
        return f"{span}  {events:>10,} events  {tokens:>10,} tokens  {seconds:6.1f} s"
