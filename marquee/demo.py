"""The whole lifecycle over a replayed world: every day in its turn, as schedules would run it."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from assets.timeline import days_between, end_of_month, month_of
from assets.workspace import Workspace, WorkspaceConfig
from marquee.errors import CommandError
from marquee.runs import Orchestrator
from marquee.worlds import evaluation_days, fine_tuned_days, pretraining_month

NUM_FINE_TUNED_DAYS = 3
_RANKER_DAYS = 3
"""The ranker learns from what the first day's version showed on the second, and is asked on the
third: with fewer days there is nothing to train it on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which partitions a replay runs, in order."""

    history: list[str]
    """Days that are only taken in: what pretraining reads."""
    month: str
    days: list[str]
    """Days that are fine-tuned, published and promoted."""
    held_back: Sequence[str] = ()
    """Days after them that are only taken in: what an evaluation asks."""


def plan(first_day: date, last_day: date, num_days: int = NUM_FINE_TUNED_DAYS) -> Plan:
    """Return the replay: pretrain through the first month's end, then refresh daily."""
    month = month_of(first_day)
    first_fine_tuned = end_of_month(month).date()
    last = min(last_day, first_fine_tuned + timedelta(days=num_days - 1))
    return Plan(
        history=days_between(first_day, first_fine_tuned - timedelta(days=1)),
        month=month,
        days=days_between(first_fine_tuned, last),
    )


def plan_last(first_day: date, last_day: date, num_days: int, num_held_back: int = 0) -> Plan:
    """Return the replay of the last days before those held back, from the newest base before them.

    Raises:
        CommandError: no month ends between the first day and the last one.
    """
    end = last_day - timedelta(days=num_held_back)
    month = pretraining_month(first_day, end)
    if month is None:
        raise CommandError(
            f"the model is trained at the end of a calendar month, and none ends between "
            f"{first_day} and {end}: take a longer part of the log"
        )
    base_ends = end_of_month(month).date()
    first = max(base_ends, end - timedelta(days=num_days - 1))
    return Plan(
        history=days_between(first_day, first - timedelta(days=1)),
        month=month,
        days=days_between(first, end),
        held_back=days_between(end + timedelta(days=1), last_day),
    )


def stages(config: WorkspaceConfig, *, is_ranked: bool) -> list[tuple[str, str, Sequence[str]]]:
    """Return the headline, the job and the partitions of each stage of a replay, in order.

    Only a log that records what was shown is ``is_ranked``: a ranker learns from nothing else.
    """
    num_days = fine_tuned_days(config)
    if num_days is None:
        steps = plan(config.first_day, config.last_day)
    else:
        steps = plan_last(config.first_day, config.last_day, num_days, evaluation_days(config))
    last, base_ends = steps.days[-1], end_of_month(steps.month).date()
    after = [
        (
            f"Take in {_counted(len(steps.held_back), 'day')} to evaluate on",
            "ingestion",
            steps.held_back,
        )
    ]
    ranker = [(f"A downstream team trains on {last}", "downstream_team", [last])]
    return [
        (f"Take in {_counted(len(steps.history), 'day')}", "ingestion", steps.history),
        (f"Pretrain on everything before {base_ends}", "monthly_pretraining", [steps.month]),
        *((f"Refresh {day}", "daily_refresh", [day]) for day in steps.days),
        *(after if steps.held_back else []),
        *(ranker if is_ranked and len(steps.days) >= _RANKER_DAYS else []),
    ]


def replay(workspace: Workspace, orchestrator: Orchestrator) -> Iterator[str]:
    """Run the plan, yielding a headline before each stage and its time after it."""
    is_ranked = workspace.source.schema.exposure is not None
    for headline, job, partitions in stages(workspace.config, is_ranked=is_ranked):
        yield headline
        started = time.monotonic()
        if job == "ingestion":
            num_skipped = orchestrator.ingest(partitions[0], partitions[-1])
        else:
            num_skipped = sum(orchestrator.run(job, partition) for partition in partitions)
        already = f", {_already(num_skipped)}" if num_skipped else ""
        yield f"  done in {time.monotonic() - started:.1f} s{already}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _already(num_assets: int) -> str:
    return f"{_counted(num_assets, 'asset')} {'was' if num_assets == 1 else 'were'} there already"


def run_demo(workspace: Workspace) -> float:
    """Replay the whole world with progress on the terminal; return the seconds that it took."""
    started = time.monotonic()
    with workspace.writing():
        workspace.sweep()
        for line in replay(workspace, Orchestrator(workspace)):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    return time.monotonic() - started
