"""Takes in many days in one run; each day stays a partition with a data version of its own.

They are taken in as work on the last of them knows them, and so are late events of days before.

::

    day by day:  raw ─► valid ─► tokens ─────┐   one materialization per asset and day
                  └──► quarantined           ├─► item statistics
                 catalogue ─► vocabulary ────┘

It is an op over days, not a run of the assets over a range of partitions: such a run tells all of
its partitions one and the same data version (dagster 1.13; ADR 8). A day that stands is skipped,
and told again only where the orchestrator knows another version of it.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime

import dagster as dg

from assets.account import Account
from assets.errors import PlatformError
from assets.events import (
    build_catalogue,
    build_raw_events,
    build_split,
    num_awaited,
)
from assets.reporting import materialized
from assets.timeline import day_before, days_between
from assets.tokens import build_item_statistics, build_tokens, build_vocabulary
from assets.watermark import Clock, days_to_final
from assets.workspace import Workspace, WorkspaceConfig
from lake.errors import LakeError
from lake.lake import Built
from lake.refs import ArtifactRef
from training.errors import TrainingError

DATA_VERSION_TAG = "dagster/data_version"
ASSETS = (
    "raw_events",
    "catalogue",
    "vocabulary",
    "quarantined_events",
    "valid_events",
    "interaction_tokens",
    "viewing_tokens",
    "item_statistics",
)
"""What is made of a day, in the order in which it is made."""

_READS = {
    "valid_events": "raw_events",
    "quarantined_events": "raw_events",
    "interaction_tokens": "valid_events",
    "viewing_tokens": "valid_events",
    "item_statistics": "interaction_tokens",
}
"""What each asset of a day reads of the day's events."""

_LOOK_BACK_DAYS = 32
"""Settled days in a row behind which nothing is looked for: a month of refreshes that found no
more to do there, whatever the length of the log."""

NUM_LINES = 20
"""Lines of progress of a long run; a short one has a line for five days."""
_PAGE_RECORDS = 200  # of runs of single days each holds a picture of 30 KB
OF_A_DAY = (PlatformError, TrainingError, LakeError, OSError)
"""What a day that cannot be taken in raises."""


class Days(dg.Config):
    """Which days, both included, as YYYY-MM-DD."""

    first_day: str
    last_day: str


@dg.op(out=dg.Out(dg.Nothing))
def take_in(
    context: dg.OpExecutionContext,
    config: Days,
    workspace: dg.ResourceParam[Workspace],
    clock: dg.ResourceParam[Clock],
) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.Output[None]]:
    """Take in, validate and tokenize each of the days; the first bad one ends the run."""
    asked = days_of(config, workspace.config)
    days = [*(day for day in final_days(workspace, asked[-1]) if day < asked[0]), *asked]
    told = {asset: told_versions(context.instance, asset) for asset in ASSETS}
    account, every = Account(), max(5, -(-len(days) // NUM_LINES))
    for number, day in enumerate(days, start=1):
        started = time.monotonic()
        built: dict[str, Built] = {}
        try:
            for one in build_day(workspace, day, now=clock(), as_of_day=days[-1]):
                built[one.ref.asset] = one
                if told[one.ref.asset].get(day) != one.ref.digest:
                    yield materialization(one)
        except OF_A_DAY as error:
            account.add(day, built, seconds=time.monotonic() - started)
            if day < asked[0]:  # nobody asked for it: its late events wait, and what stands stays
                context.log.warning("%s, with its late events: %s", day, error)
                continue
            yield from account.evaluations()
            raise dg.Failure(f"{day}: {error}", metadata=account.metadata()) from error
        account.add(day, built, seconds=time.monotonic() - started)
        num_untold = number % every or every
        is_due = num_untold == every or number == len(days)
        if is_due and (line := account.progress(num_untold)):
            context.log.info(line)
    yield from account.evaluations()
    yield dg.Output(None, metadata=account.metadata())


def days_of(asked: Days, world: WorkspaceConfig) -> list[str]:
    """Return the days asked for; raises dagster's Failure unless they are the world's, in order."""
    try:
        first, last = date.fromisoformat(asked.first_day), date.fromisoformat(asked.last_day)
    except ValueError:
        days = []
    else:
        is_in_world = world.first_day <= first and (last <= world.last_day or not world.is_replay)
        days = days_between(first, last) if is_in_world else []
    # one day has several names in ISO 8601, and a partition has one
    if not days or (days[0], days[-1]) != (asked.first_day, asked.last_day):
        end = str(world.last_day) if world.is_replay else "a day that is over"
        raise dg.Failure(
            f"want days as YYYY-MM-DD, in order, from {world.first_day} to {end}; got "
            f"{asked.first_day!r} to {asked.last_day!r}"
        )
    return days


def build_day(
    workspace: Workspace,
    day: str,
    *,
    now: datetime,
    as_of_day: str | None = None,
    has_pages: bool = False,
) -> Iterator[Built]:
    """Yield each of the day's ``ASSETS`` when it is made, or found, as work on a day knows it."""
    raw = build_raw_events(workspace, day, now=now, as_of_day=as_of_day)
    yield raw  # first, as it refuses a day that is not over: a vocabulary, once written, stays
    titles = build_catalogue(workspace, day)
    yield titles
    vocabulary = build_vocabulary(workspace, titles.ref)
    yield vocabulary
    valid = raw
    for valid in build_split(workspace, raw.ref, titles.ref, has_pages=has_pages):
        yield valid  # the quarantined events, and last the valid ones
    tokens = build_tokens(workspace, valid.ref)  # refuses what validation blocked
    yield tokens
    yield build_tokens(workspace, valid.ref, asset="viewing_tokens")
    yield build_item_statistics(workspace, vocabulary.ref, titles.ref, tokens.ref)


def final_days(workspace: Workspace, as_of_day: str) -> list[str]:
    """Return the day whose lateness ended at a day's watermark, and those that missed theirs.

    Only days that stand: one that was never taken in is nobody's to take in again. A day that is
    settled stays so, so this looks back until ``_LOOK_BACK_DAYS`` in a row are; what could not be
    taken in before these is for a person to run.
    """
    last = through = day_before(as_of_day, days_to_final(workspace.config))
    found: list[str] = []
    while through >= workspace.config.first_day.isoformat():
        since = day_before(through, _LOOK_BACK_DAYS - 1)
        missed = [day for day in _unsettled(workspace, since, through) if day != last]
        found = missed + found
        if not missed:
            break
        through = day_before(since, 1)
    return [*found, last] if workspace.lake.find("raw_events", last) else found


def _unsettled(workspace: Workspace, since: str, through: str) -> list[str]:
    """Return the days that await late events, or whose artifacts do not know them yet."""
    made = {
        asset: {
            ref.partition: ref for ref in workspace.lake.refs(asset, since=since, through=through)
        }
        for asset in ("raw_events", *_READS)
    }
    return [
        day
        for day, raw in made["raw_events"].items()
        if num_awaited(raw) or _is_unfinished({asset: made[asset].get(day) for asset in made})
    ]


def _is_unfinished(of_day: Mapping[str, ArtifactRef | None]) -> bool:
    """Return whether a kill left what was made of a day before its late events were taken in."""
    valid = of_day["valid_events"]
    is_blocked = valid is not None and valid.figures["validation"]["is_blocked"]
    for asset, read in _READS.items():
        ref, upstream = of_day[asset], of_day[read]
        if ref is None or upstream is None or (is_blocked and read != "raw_events"):
            continue  # what a blocked day had before stays
        if upstream.logical_id not in ref.inputs:
            return True
    return False


def told_versions(
    instance: dg.DagsterInstance, asset: str, days: Sequence[str] | None = None
) -> dict[str, str | None]:
    """Return the data version that the orchestrator knows of each partition, or of some."""
    wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), days)
    versions: dict[str, str | None] = {}
    cursor, has_more = None, True
    while has_more:
        page = instance.fetch_materializations(wanted, _PAGE_RECORDS, cursor)
        for record in page.records:  # the newest first
            made = record.asset_materialization
            if made is not None and made.partition is not None:
                versions.setdefault(made.partition, (made.tags or {}).get(DATA_VERSION_TAG))
        cursor, has_more = page.cursor, page.has_more
    return versions


def materialization(built: Built) -> dg.AssetMaterialization:
    """Return what the orchestrator is told of an artifact that no asset of its own run made."""
    ref = built.ref
    return dg.AssetMaterialization(
        ref.asset,
        partition=ref.partition,
        metadata=materialized(built).metadata,
        tags={DATA_VERSION_TAG: ref.digest},
    )


@dg.job(description="Take in, validate and tokenize many days in one run.")
def ingestion_of_days() -> None:
    """Ingestion, for more days than runs of one partition each are reasonable for."""
    take_in()
