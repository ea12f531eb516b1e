"""The fold of a long log: as quick as the log is long, and what a plain fold says."""

import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedding_store.entries import (
    AliasSet,
    AnyBody,
    ConsumerRegistered,
    VersionPublished,
    VersionRetired,
    VersionRolledBack,
    VersionsErased,
    parse,
    to_body,
)
from embedding_store.errors import UnknownEntryError
from embedding_store.folding import NewestState, fold
from embedding_store.state import StoreState
from lake.log import Entry
from tests.unit.embedding_store.small_world import instant

FRAMES = (1, 2)


def entry(seq: int, body: AnyBody, day: int = 0) -> Entry:
    at = instant(day).isoformat()
    return Entry(
        seq=seq,
        entry_id=str(seq),
        kind=body.kind,
        effective_at=at,
        recorded_at=at,
        by="test",
        why="test",
        body=to_body(body),
    )


def published(number: int, frame: int = 1, digest: str = "") -> VersionPublished:
    return VersionPublished(
        digest=digest or f"d{number}",
        number=number,
        frame=frame,
        day="2024-03-01",
        as_of="2024-03-02",
        logical_id=f"work {number}",
        model_digest="m",
        judged_against=None,
        manifest_sha256="f",
        gate_sha256="g",
    )


def promoted(number: int, digest: str, frame: int = 1, alias: str = "stable") -> AliasSet:
    return AliasSet(
        alias=alias,
        frame=frame,
        version=digest,
        number=number,
        judged_against=None,
        reason="r",
    )


def erased(versions: dict, digests: dict, replacements: Mapping) -> tuple[dict, dict]:
    after = {before: one["digest"] for before, one in replacements.items()}
    return (
        {number: (after.get(digest, digest), gone) for number, (digest, gone) in versions.items()},
        {**digests, **{after[one]: digests[one] for one in after if one in digests}},
    )


def plain(entries: Iterable[Entry], as_of: datetime | None = None) -> dict:
    """What a fold says of versions and names: the straightforward way, a copy per entry."""
    versions: dict[int, tuple[str, bool]] = {}
    digests: dict[str, int] = {}
    stacks: dict[int, tuple[int, ...]] = {}
    canaries: dict[int, int] = {}
    switches: tuple[tuple[int, str, int, int], ...] = ()
    for one in entries:
        body = parse(one)
        is_in_effect = as_of is None or datetime.fromisoformat(one.effective_at) <= as_of
        match body:
            case VersionsErased():
                versions, digests = erased(versions, digests, body.replacements)
            case _ if not is_in_effect:
                pass
            case VersionPublished(number=number, digest=digest):
                versions = {**versions, number: (digest, False)}
                digests = {**digests, digest: number}
            case AliasSet(alias="canary", frame=frame, number=number):
                canaries = {**canaries, frame: number}
                switches = (*switches, (one.seq, "canary", frame, number))
            case AliasSet(frame=frame, number=number):
                below = tuple(n for n in stacks.get(frame, ()) if n != number)
                stacks = {**stacks, frame: (*below, number)}
                canaries = {f: n for f, n in canaries.items() if (f, n) != (frame, number)}
                switches = (*switches, (one.seq, "stable", frame, number))
            case VersionRolledBack(frame=frame, to_number=number):
                stacks = {**stacks, frame: stacks[frame][: stacks[frame].index(number) + 1]}
                switches = (*switches, (one.seq, "stable", frame, number))
            case VersionRetired(number=number):
                versions = {**versions, number: (versions[number][0], True)}
                stacks = {f: tuple(n for n in stack if n != number) for f, stack in stacks.items()}
                canaries = {f: n for f, n in canaries.items() if n != number}
    return {
        "versions": versions,
        "digests": digests,
        "stacks": stacks,
        "canaries": canaries,
        "switches": switches,
    }


def seen(state: StoreState) -> dict:
    return {
        "versions": {n: (one.digest, one.is_retired) for n, one in state.versions.items()},
        "digests": state.digests,
        "stacks": state.stacks,
        "canaries": state.canaries,
        "switches": tuple((s.seq, s.alias, s.frame, s.number) for s in state.switches),
    }


@st.composite
def logs(draw: st.DrawFn) -> list[Entry]:
    """Logs as publishers write them: every entry may follow those before it, in time as well."""
    entries: list[Entry] = []
    day = 0
    for seq in range(1, draw(st.integers(1, 25)) + 1):
        state = fold(entries)
        numbers = sorted(state.versions)
        day += draw(st.integers(0, 1))
        kind = draw(st.sampled_from(["publish", "stable", "canary", "back", "retire", "erase"]))
        frame = draw(st.sampled_from(FRAMES))
        stack = state.stacks.get(frame, ())
        if kind == "back" and stack:
            to = draw(st.sampled_from(stack))
            digest = state.versions[to].digest
            body = VersionRolledBack(
                frame=frame, from_number=stack[-1], to_number=to, to_version=digest
            )
            body = body if state.digests[digest] == to else NOTED
        elif kind == "publish" or not numbers:
            digest = draw(st.sampled_from(["", "shared"]))
            body = published(len(numbers) + 1, frame, digest)
        elif kind == "retire":
            number = draw(st.sampled_from(numbers))
            digest = state.versions[number].digest
            names = state.digests[digest] == number
            body = VersionRetired(number=number, version=digest) if names else NOTED
        elif kind == "erase":
            some = draw(st.sets(st.sampled_from([one.digest for one in state.versions.values()])))
            after = {digest: {"digest": f"{digest}'", "manifest_sha256": "e"} for digest in some}
            body = VersionsErased(key="k", users=[str(seq)], replacements=after)
        else:
            number = draw(st.sampled_from(numbers))
            digest, frame = state.versions[number].digest, state.versions[number].frame
            alias = "canary" if kind == "canary" else "stable"
            names = state.digests[digest] == number
            body = promoted(number, digest, frame, alias) if names else NOTED
        entries.append(entry(seq, body, day))
    return entries


NOTED = ConsumerRegistered(name="ranker", frame=1)


@settings(max_examples=150, deadline=None)
@given(logs(), st.integers(-1, 25))
def test_the_fold_is_the_plain_one_at_every_instant(log: list[Entry], day: int) -> None:
    assert seen(fold(log)) == plain(log)
    assert seen(fold(log, instant(day))) == plain(log, instant(day))


@settings(max_examples=50, deadline=None)
@given(logs(), st.data())
def test_folding_on_is_folding_anew_and_changes_no_state_given_out(
    log: list[Entry], data: st.DataObject
) -> None:
    newest = NewestState()
    cut = data.draw(st.integers(0, len(log)))
    early = newest.after(log[:cut])
    assert newest.after(log) == fold(log)
    assert early == fold(log[:cut])
    assert newest.after(log[:cut]).seq == len(log), "never back to what another thread had"


def long_log(count: int) -> list[Entry]:
    """Each version is promoted onto the one before."""
    pairs = ((published(n), promoted(n, f"d{n}")) for n in range(1, count + 1))
    return [entry(seq, body) for seq, body in enumerate((b for p in pairs for b in p), 1)]


def seconds_of(log: list[Entry]) -> float:
    def once() -> float:
        start = time.process_time()
        fold(log)
        return time.process_time() - start

    return min(once() for _ in range(3))


def test_a_log_that_is_ten_times_as_long_takes_about_ten_times_as_long() -> None:
    log = long_log(5000)
    assert seconds_of(log) < 30 * seconds_of(log[: len(log) // 10])


def test_an_entry_that_cannot_be_folded_stops_every_later_question_and_spoils_nothing() -> None:
    newest = NewestState()
    log = long_log(3)
    newest.after(log[:2])
    unknown = [*log[:4], replace(log[4], kind="from_the_future")]
    for _ in range(2):
        with pytest.raises(UnknownEntryError):
            newest.after(unknown)
    assert newest.after(log) == fold(log)


def test_threads_that_fold_at_once_see_whole_states() -> None:
    log, newest = long_log(200), NewestState()
    barrier = threading.Barrier(8)

    def reader(start: int) -> list[StoreState]:
        barrier.wait()
        return [newest.after(log[:cut]) for cut in range(start, len(log), 8)]

    with ThreadPoolExecutor(8) as threads:
        for states in threads.map(reader, range(8)):
            seqs = [state.seq for state in states]
            assert seqs == sorted(seqs)
            assert all(state == fold(log[: state.seq]) for state in states[::10])
