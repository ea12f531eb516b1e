"""``marquee source``: from somebody's own files to a mapping, and what the mapping would take."""

from datetime import timedelta
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assets.watermark import final_at
from lake.atomic import create_file
from lake.days import end_of
from marquee.errors import CommandError
from marquee.worlds import mapped, pretraining_month
from training.events.drafting import draft
from training.events.examination import Examination, examine, position, untimed
from training.events.mapping import LogMapping
from training.events.mapping_file import read_mapping
from training.events.own_log import OwnLog
from training.events.tables import DECIDE
from training.schema import ActionRole

NUM_DAYS_SHOWN = 5


def init_mapping(
    files: list[Path], *, catalogue: list[Path], out: Path, name: str, console: Console
) -> None:
    """Draft a mapping for files; raises CommandError where one stands already."""
    text = draft(files, catalogue, name=name)
    out.parent.mkdir(parents=True, exist_ok=True)
    if not create_file(out, text.encode()):
        raise CommandError(f"{out} is there already: give another --out, or remove it")
    decisions = _decisions(text)
    console.print(f"Drafted {out}: {len(decisions)} decisions are yours.")
    for decision in decisions:
        console.print(f"  {escape(decision)}", highlight=False)
    console.print(f"Replace each DECIDE, then: marquee source check {escape(str(out))}")


def _decisions(text: str) -> list[str]:
    """Return what a draft leaves open: the line, the entry that it belongs to, what it says."""
    found, entry = [], ""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("["):
            entry = line.strip("[]").removesuffix("s")
        elif line.startswith("name = ") and entry in {"action", "facet"}:
            entry += line.removeprefix("name =")
        if f'"{DECIDE}"' in line:
            found.append(f"line {number}, {entry}: {line}")
    return found


def check_mapping(path: Path, console: Console) -> bool:
    """Say what a mapping would take; return whether a world can be made of it."""
    mapping = read_mapping(path)
    config, source = mapped(mapping), OwnLog(mapping)
    day = config.first_day.isoformat()
    found = examine(source, lateness=final_at(config, day) - end_of(day))
    _show_taken(source, found, console)
    _show_actions(mapping, found, console)
    _show_refused(source, found, console)
    faults = _faults(source, found, max_refused=config.max_quarantined)
    for fault in faults:
        console.print(f"- {escape(fault)}", highlight=False)
    if not faults:
        console.print(
            f"Ready: marquee demo --source parquet --data {escape(str(path))} "
            f"--workspace {escape(mapping.name)}"
        )
    return not faults


def _show_taken(source: OwnLog, found: Examination, console: Console) -> None:
    rows = sum(sum(one.rows_by_day.values()) + one.num_untimed for one in source.days)
    repeats = sum(day.repeats for day in found.days)
    refused = sum(day.refused for day in found.days)
    table = Table(box=box.SIMPLE_HEAD, title=f"{source.mapping.name}: what would be taken")
    table.add_column("")
    table.add_column("", justify="right")
    for what, value in (
        ("days", f"{source.first_day} to {source.last_day}, {len(found.days)} with events"),
        ("rows in files", f"{rows:,} in {len(source.files)}"),
        ("rows on other days", f"{found.outside:,}"),
        ("valid events", f"{found.valid:,}"),
        ("refused events", f"{refused:,}"),
        ("repeated events", f"{repeats:,}"),
        ("events that arrive too late", f"{found.too_late:,}"),
        ("users", f"{found.users:,}"),
        ("items", f"{found.items:,} of {found.catalogue_items:,} in the catalogue"),
    ):
        table.add_row(what, value)
    console.print(table)


def _show_actions(mapping: LogMapping, found: Examination, console: Console) -> None:
    actions = Table(box=box.SIMPLE_HEAD, title="Actions and facets of valid events")
    for heading, justify in (("name", "left"), ("read as", "left"), ("events", "right")):
        actions.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for action in mapping.schema.actions:
        count = found.by_action.get(action.name, 0)
        actions.add_row(escape(action.name), f"action, {action.role}", f"{count:,}")
    for facet in mapping.schema.facets:
        count = found.filled.get(facet.name, 0)
        actions.add_row(escape(facet.name), f"{facet.kind}, {facet.phase}", f"{count:,}")
    console.print(actions)


def _show_refused(source: OwnLog, found: Examination, console: Console) -> None:
    without_time = untimed(source)
    if not found.refused and not without_time:
        return
    table = Table(box=box.SIMPLE_HEAD, title="What would be refused")
    for heading, justify in (("rule", "left"), ("events", "right"), ("the first one", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for rule, refused in found.refused.items():
        where = f"{refused.day}, {position(source, refused)}"
        table.add_row(escape(rule), f"{refused.count:,}", escape(where))
    for one in without_time:
        first = f"{one.file.path.name} row {one.first_untimed}"
        table.add_row("the row has a usable time", f"{one.num_untimed:,}", escape(first))
    console.print(table)


def _faults(source: OwnLog, found: Examination, *, max_refused: float) -> list[str]:
    """Return what keeps a world from being made of the log, and what to do about it."""
    faults = []
    if not found.valid:
        return ["no event keeps every rule: look at the first row of the rule broken most"]
    if found.empty_days and not source.mapping.world.empty_days:
        first, last = _longest_run(found)
        faults.append(
            f"{len(found.empty_days)} days have no event, the first is {found.empty_days[0]}: "
            f"say empty_days = true in [world] if that is how it was, or set first_day = {first} "
            f"and last_day = {last}, the longest part without a gap"
        )
    if blocked := [day for day in found.days if day.refused_share > max_refused]:
        shown = ", ".join(f"{day.day} {day.refused_share:.0%}" for day in blocked[:NUM_DAYS_SHOWN])
        faults.append(
            f"on {len(blocked)} days more than {max_refused:.0%} of the rows would be refused, "
            f"which blocks the day ({shown}): mend the mapping or the files"
        )
    if not set(source.schema.actions_with(ActionRole.TARGET)) & set(found.by_action):
        faults.append("no valid event is a target: give another action that role")
    end = source.last_day - timedelta(days=source.mapping.world.evaluation_days)
    if pretraining_month(source.first_day, end) is None:
        faults.append(
            f"the model is trained at the end of a calendar month and then refreshed daily: from "
            f"{source.first_day} to {end} no month ends before the last day"
        )
    return faults


def _longest_run(found: Examination) -> tuple[str, str]:
    """Return the first and the last day of the longest part without an empty day."""
    runs: list[list[str]] = []
    previous = None
    for one in found.days:
        if previous is None or one.day - previous != timedelta(days=1):
            runs.append([])
        runs[-1].append(one.day.isoformat())
        previous = one.day
    longest = max(runs, key=len)
    return longest[0], longest[-1]
