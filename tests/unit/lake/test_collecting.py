from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import pytest

from lake.collecting import Collected, Needs, collect
from lake.lake import Built, Lake, Step, Written
from lake.storage import locate

DAY = "2026-02-01"


@pytest.fixture(params=["disk", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    if request.param == "s3":
        locate(tmp_path, request.getfixturevalue("s3_url"))
    return Lake(tmp_path)


def build(lake: Lake, text: str, *, asset: str = "tokens", code: str | None = None) -> Built:
    def write(folder: Path) -> Written:
        (folder / "data.txt").write_text(text)
        return Written(1)

    step = Step(
        asset=asset,
        partition=DAY,
        schema_id="tokens/1",
        as_of="2026-02-02",
        code=code or text,
    )
    return lake.build(step, write)


def needs(*, days: int = 60, needed: str = "", folders: tuple[str, ...] = ()) -> Needs:
    """What is to be kept when so many days have passed."""
    now = datetime.now(UTC) + timedelta(days=days)
    return Needs(
        is_needed=lambda ref: ref.producer == needed,
        folders=folders,
        replaced_after=now - timedelta(days=30),
        unnamed_after=now - timedelta(days=7),
    )


def collected(lake: Lake, needs: Needs, *, is_rehearsal: bool = False) -> list[Collected]:
    return list(collect(lake, needs, is_rehearsal=is_rehearsal))


def kept(lake: Lake) -> list[str]:
    return sorted(ref.producer for ref in lake.references("tokens", DAY).values())


def test_what_was_replaced_long_ago_goes_and_what_stands_stays(lake: Lake) -> None:
    one, two = build(lake, "one").ref, build(lake, "two").ref

    done = collected(lake, needs())

    assert [(found.what, found.name.count(one.digest[:16])) for found in done] == [
        ("references that others replaced", 1),
        ("artifacts that nothing names", 1),
    ]
    assert all(found.num_bytes > 0 for found in done)
    assert kept(lake) == ["two"]
    assert not lake.storage.folders.exists(one.uri)
    lake.verify(two)
    assert collected(lake, needs()) == []


def test_a_rehearsal_says_the_same_and_removes_nothing(lake: Lake) -> None:
    build(lake, "one"), build(lake, "two")
    told = collected(lake, needs(), is_rehearsal=True)
    assert kept(lake) == ["one", "two"]
    assert collected(lake, needs()) == told != []


def test_what_is_young_or_needed_stays(lake: Lake) -> None:
    one, two = build(lake, "one").ref, build(lake, "two").ref
    assert collected(lake, needs(days=29)) == []
    assert collected(lake, needs(needed="one")) == []
    for ref in (one, two):
        lake.verify(ref)


def test_another_work_of_the_content_that_stands_is_remembered(lake: Lake) -> None:
    """So that who read the earlier one is known to have read the same."""
    build(lake, "same", code="one")
    two = build(lake, "same", code="two").ref
    assert collected(lake, needs()) == []
    assert kept(lake) == ["one", "two"]
    lake.verify(two)


def test_a_folder_without_a_name_goes_unless_it_is_young_or_named_elsewhere(lake: Lake) -> None:
    ref = build(lake, "one").ref
    lake.storage.objects.delete(f"refs/tokens/{DAY}.json")
    assert collected(lake, needs(days=6)) == []
    assert collected(lake, needs(folders=(ref.uri,))) == []
    assert [found.name for found in collected(lake, needs())] == [ref.uri]


def test_a_running_build_survives(lake: Lake) -> None:
    """It has committed its folder, and its reference is not there yet."""
    build(lake, "one"), build(lake, "two")
    begun, may_end = Event(), Event()
    commit = lake.storage.folders.commit

    def slowly(staged: Path, name: str) -> None:
        commit(staged, name)
        begun.set()
        may_end.wait(30)

    lake.storage.folders.commit = slowly  # type: ignore[method-assign]
    builder = Thread(target=build, args=(lake, "three"))
    builder.start()
    begun.wait(30)

    assert collected(lake, needs()) == []

    may_end.set()
    builder.join()
    lake.verify(lake.require("tokens", DAY))
    assert lake.require("tokens", DAY).producer == "three"
