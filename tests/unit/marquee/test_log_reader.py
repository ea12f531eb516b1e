import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from assets.workspace import Workspace
from embedding_store.entries import AnyBody, ConsumerRegistered, to_body
from lake.log import Entry
from lake.tombstones import Tombstones
from marquee.log_reader import in_words, show_entries
from tests.unit.embedding_store.small_world import SmallWorld, instant
from tests.unit.embedding_store.test_entries import BODIES
from tests.unit.marquee.conftest import Marquee


@pytest.fixture
def busy(world: SmallWorld, workspace: Workspace) -> Workspace:
    """Every kind of entry but an accepted model."""
    world.publisher.rollback(1, effective_at=instant(9), why="[red] a drill")
    world.publisher.retire(2, effective_at=instant(9), why="bad")
    consumer = ConsumerRegistered(name="ranker", frame=1, contact="rankers@example.com")
    world.publisher.register_consumer(consumer, effective_at=instant(9), why="they read it")
    tombstones = Tombstones(world.store.objects, "")
    tombstones.add(["user-1"])
    world.publisher.erase(tombstones, effective_at=instant(9), why="asked for")
    return workspace


def test_every_entry_is_told_in_words(busy: Workspace, marquee: Marquee) -> None:
    answer = marquee("log")
    assert answer.status == 0
    for told in (
        "2024-03-02 01:00 published v1 of 2024-03-01 in frame 1 test the day is done",
        "2024-03-03 01:00 stable of frame 1 is v2 test gates passed",
        "stable of frame 1 rolled back to v1 from v2 test [red] a drill",
        "retired v2 test bad",
        "registered ranker of frame 1 test they read it",
        "erased 1 user, 2 versions rewritten test asked for",
    ):
        assert told in answer.out


def test_the_newest_are_shown_last_and_the_rest_is_counted(
    busy: Workspace, marquee: Marquee
) -> None:
    answer = marquee("log", "-n", "2")
    assert "registered ranker" in answer.out
    assert answer.out.endswith("asked for the newest 2 of 8: -n 8 shows all")
    assert "retired" not in answer.out


def test_one_kind_and_one_time_can_be_asked_for(busy: Workspace, marquee: Marquee) -> None:
    answer = marquee("log", "--kind", "alias_set", "--kind", "version_retired")
    assert answer.out.count("stable of frame 1 is") == 2
    assert "retired v2" in answer.out
    assert "published" not in answer.out
    assert marquee("log", "--since", "2999-01-01").out == "no such entry is in the log"
    recorded = busy.store.log.entries()[5].recorded_at
    assert marquee("log", "--since", recorded).out.count("test") == 3


def test_a_script_gets_whole_entries(busy: Workspace, marquee: Marquee) -> None:
    answer = marquee("log", "--json", "-n", "3")
    assert answer.status == 0
    decoder, found, rest = json.JSONDecoder(), [], answer.out
    while rest:
        entry, end = decoder.raw_decode(rest)
        found.append(Entry(**entry))
        rest = rest[end:].lstrip()
    assert found == list(busy.store.log.entries()[-3:])


@pytest.mark.parametrize(
    ("asked", "said"),
    [(("--kind", "alias"), "want one of alias_set"), (("--since", "soon"), "want YYYY-MM-DD")],
)
def test_what_cannot_be_asked_is_said(
    workspace: Workspace, marquee: Marquee, asked: tuple[str, ...], said: str
) -> None:
    answer = marquee("log", *asked)
    assert answer.status != 0
    assert said in answer.err


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.kind)
def test_every_kind_has_words_of_its_own(workspace: Workspace, body: AnyBody) -> None:
    entry = replace(workspace.store.log.entries()[-1], kind=body.kind, body=to_body(body))
    assert not in_words(entry).startswith(f"{body.kind.replace('_', ' ')}: ")


def test_an_entry_of_another_release_is_shown_as_it_is(workspace: Workspace) -> None:
    entry = workspace.store.log.entries()[-1]
    newer = replace(entry, kind="frame_closed", body={"frame": 2, "more": []})
    assert in_words(newer) == "frame closed: frame 2"
    assert in_words(replace(entry, body={"number": 2})) == "alias set: number 2"


def test_an_entry_is_one_line_but_where_somebody_wrote_a_long_reason(busy: Workspace) -> None:
    console = Console(file=io.StringIO(), width=120)
    entries = busy.store.log.entries()
    show_entries([*entries[:-1], replace(entries[-1], why="a long reason " * 3)], console, count=20)
    lines = console.file.getvalue().strip().splitlines()
    assert len(lines) == 2 + len(entries) + 1, "the heads, a rule, and one reason of two lines"
