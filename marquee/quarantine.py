"""The quarantine: which rows broke which rule, and taking their days in again after a fix."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assets.workspace import Workspace
from lake.hashing import keyed_hash
from lake.refs import ArtifactRef
from marquee.errors import CommandError
from training.events.artifacts import scan_events
from training.repeats import contents
from training.schema import EventSchema

_NUM_SAMPLES = 3
_ROW = ["event_id", "content"]


def show_quarantine(workspace: Workspace, days: Sequence[str], console: Console) -> None:
    """Print the rows of days by rule, with some of them; users only as keyed hashes."""
    table = Table(box=box.SIMPLE_HEAD, title="Rows in quarantine, by the first rule they break")
    for name, justify in (("day", "left"), ("rule", "left"), ("rows", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("such as (event, user's hash)", overflow="fold")
    found = [ref for ref in _refs(workspace, days) if ref.rows]
    for ref in found:
        samples = _samples(workspace, ref)
        for rule, count in _by_rule(ref).items():
            table.add_row(ref.partition, rule, f"{count:,}", escape("\n".join(samples[rule])))
    console.print(table if found else "no row is in quarantine")


def release_days(workspace: Workspace, days: Sequence[str], console: Console) -> None:
    """Take days in again, and print what became of their rows in quarantine.

    Models and versions that were made of the days stay what they are. Raises RunFailedError.
    """
    before = {ref.partition: _refused(workspace, ref) for ref in _refs(workspace, days) if ref.rows}
    from marquee.runs import Orchestrator

    orchestrator = Orchestrator(workspace)
    for first, last in _spans(list(before)):
        orchestrator.ingest(first, last)
    fates = [_fate(workspace, day, rows) for day, rows in before.items()]
    console.print(_fate_table(fates) if fates else "no row is in quarantine: nothing to release")


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a day's rows that were in quarantine, by the rule that they broke."""

    before: Counter[str]
    valid: Counter[str]
    """Rows that are valid events now."""
    still: Counter[tuple[str, str]]
    """Rows that stay, by the rule that they broke and the one that they break now."""


def _fate(workspace: Workspace, day: str, before: pl.DataFrame) -> Fate:
    """Follow each row by its id and content, which no two rows of a day share."""
    now = _refused(workspace, workspace.lake.require("quarantined_events", day))
    followed = before.join(now.rename({"rule": "rule now"}), on=_ROW, how="left")
    is_free = pl.col("rule now").is_null()
    schema, events = scan_events(workspace.lake.path(workspace.lake.require("valid_events", day)))
    free = followed.filter(is_free)
    # contents are computed for the few events that bear an id of a row that was refused
    candidates = events.join(free.lazy(), on="event_id", how="semi").collect()
    valid = free.join(_with_content(candidates, schema), on=_ROW, how="semi")
    still = followed.filter(~is_free)
    return Fate(
        Counter(before["rule"].to_list()),
        Counter(valid["rule"].to_list()),
        Counter(still.select("rule", "rule now").rows()),
    )


def _fate_table(fates: Sequence[Fate]) -> Table:
    before, valid = Counter[str](), Counter[str]()
    still = Counter[tuple[str, str]]()
    for one in fates:
        before.update(one.before)
        valid.update(one.valid)
        still.update(one.still)
    days = "1 day" if len(fates) == 1 else f"{len(fates)} days"
    table = Table(box=box.SIMPLE_HEAD, title=f"What became of the rows in quarantine, of {days}")
    for name in ("rule", "rows", "valid now", "stay", "gone"):
        table.add_column(name, justify="left" if name == "rule" else "right")
    table.add_column("because")
    for rule, count in before.items():
        why = {now: n for (then, now), n in still.items() if then == rule}
        stay = sum(why.values())
        numbers = (count, valid[rule], stay, count - valid[rule] - stay)
        reasons = ", ".join(f"{now}: {n:,}" for now, n in why.items())
        table.add_row(rule, *(f"{number:,}" for number in numbers), escape(reasons))
    return table


def _refs(workspace: Workspace, days: Sequence[str]) -> list[ArtifactRef]:
    """Return the quarantine of days, by default of all; raises CommandError."""
    refs = {ref.partition: ref for ref in workspace.lake.refs("quarantined_events")}
    if unknown := sorted(set(days) - set(refs)):
        span = f"{min(refs)} to {max(refs)}" if refs else "none"
        raise CommandError(f"want days that were taken in, which are {span}; got {unknown[0]!r}")
    return [refs[day] for day in sorted(set(days) or refs)]


def _by_rule(ref: ArtifactRef) -> dict[str, int]:
    return {rule: count for rule, count in ref.figures["by_rule"].items() if count}


def _refused(workspace: Workspace, ref: ArtifactRef) -> pl.DataFrame:
    """Return the id, the content and the rule of each row in quarantine."""
    schema, rows = scan_events(workspace.lake.path(ref))
    return _with_content(rows.collect(), schema).select(*_ROW, "rule")


def _with_content(rows: pl.DataFrame, schema: EventSchema) -> pl.DataFrame:
    return rows.with_columns(pl.Series("content", contents(rows.to_arrow(), schema)))


def _samples(workspace: Workspace, ref: ArtifactRef) -> dict[str, list[str]]:
    """Return some rows of each rule."""
    _, rows = scan_events(workspace.lake.path(ref))
    first = rows.group_by("rule").agg(pl.col("event_id", "user_id").head(_NUM_SAMPLES)).collect()
    return {
        rule: [
            f"{event}, {keyed_hash(user) if user else 'no user'}"
            for event, user in zip(events, users, strict=True)
        ]
        for rule, events, users in first.iter_rows()
    }


def _spans(days: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the first and the last of each run of consecutive days."""
    first = None
    for day in days:
        first = first or day
        following = (date.fromisoformat(day) + timedelta(days=1)).isoformat()
        if following not in days:
            yield first, day
            first = None
