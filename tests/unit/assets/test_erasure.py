"""Erasing users from a small simulated world, with what days of serving would have added to it."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from assets import erased_figures
from assets.backfill import build_day
from assets.erasure import certificate_key, erase
from assets.events import build_raw_events, num_awaited
from assets.pages import docs_folder, pages_folder, report_path
from assets.watermark import wall_clock, watermark_of
from assets.workspace import Workspace, WorkspaceConfig
from lake.errors import ErasureError
from lake.lake import Built, Written
from lake.tombstones import KEY_VARIABLE
from lake.user_rows import users_of as users_below
from tests.residue import residue
from training.errors import ContractError
from training.events.artifacts import read_events
from training.tokens.partial import open_bucket

DAYS = ["2026-01-01", "2026-01-02"]
CONFIG = WorkspaceConfig(
    source="simulated",
    source_parameters={
        "num_users": 600,
        "num_titles": 100,
        "first_day": DAYS[0],
        "num_days": 2,
    },
    first_day=date(2026, 1, 1),
    last_day=date(2026, 1, 2),
    recipe="tiny",
)
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def take_in(workspace: Workspace) -> list[Built]:
    return [one for day in DAYS for one in build_day(workspace, day, now=wall_clock())]


def write_vectors(workspace: Workspace, users: list[str]) -> None:
    """Write what inference and evaluation write, at least as far as an erasure looks."""

    def write(folder: Path) -> Written:
        vectors = pa.array([[1.0, 2.0]] * len(users), pa.list_(pa.float32(), 2))
        pq.write_table(
            pa.table({"user_id": users, "embedding": vectors}), folder / "part-0.parquet"
        )
        nobody = pa.table({"user_id": [""], "embedding": vectors.slice(0, 1)})
        pq.write_table(nobody, folder / "default.parquet")
        return Written(len(users), {"users": len(users), "dim": 2})

    workspace.build("user_embeddings", DAYS[1], write, code_of=["lake.days"], as_of=AT)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world as it is made, which takes seconds; each test has a copy."""
    workspace = Workspace.create(tmp_path_factory.mktemp("made") / "world", CONFIG)
    take_in(workspace)
    write_vectors(workspace, users_of(workspace))
    return workspace.root


@pytest.fixture
def world(made: Path, tmp_path: Path) -> Workspace:
    return Workspace.open(shutil.copytree(made, tmp_path / "world"))


def users_of(workspace: Workspace) -> list[str]:
    folders = workspace.paths(workspace.lake.refs("raw_events"))
    found = {user for folder in folders for user in read_events(folder)[1]["user_id"].to_pylist()}
    return sorted(user for user in found if user)


def references(workspace: Workspace) -> dict[tuple[str, str], dict[str, object]]:
    built = list(workspace.lake.built())
    return {one: workspace.lake.require(*one).to_json() for one in built}


def rows_divide(workspace: Workspace, day: str) -> bool:
    raw, valid, aside = (
        workspace.lake.require(asset, day)
        for asset in ("raw_events", "valid_events", "quarantined_events")
    )
    told = valid.figures["validation"]
    assert valid.figures["quarantined"] == told["quarantined"] == aside.rows
    assert told["rows_in"] == raw.rows
    return raw.rows == valid.rows + aside.rows + int(valid.figures["duplicates"])


def test_nothing_of_a_hundred_users_is_left(world: Workspace) -> None:
    gone = users_of(world)[::2][:100]
    assert len(gone) == 100
    assert residue(world.root, gone)

    certificate = erase(world, gone, at=AT)

    assert residue(world.root, gone) == {}
    assert len(certificate.users) == 100
    assert certificate.users_without_rows == []
    others = set(users_of(world))
    assert others
    assert not others.intersection(gone)


def test_what_is_left_is_what_would_be_there_without_them(world: Workspace, tmp_path: Path) -> None:
    gone = users_of(world)[:40]
    erase(world, gone, at=AT)

    without = Workspace.create(tmp_path / "without", CONFIG)
    without.lake.tombstones().add(gone)
    for one in take_in(without):
        if one.ref.asset == "item_statistics":
            continue  # sums, of which nobody can be taken out; the certificate says that they stay
        ref = world.lake.require(one.ref.asset, one.ref.partition)
        assert (ref.digest, ref.rows) == (one.ref.digest, one.ref.rows), one.ref.asset
        if one.ref.asset in {"raw_events", "quarantined_events", "interaction_tokens"}:
            differing = {"late": 0, "erased": 0}  # what is awaited is in no artifact
            assert {**ref.figures, **differing} == {**one.ref.figures, **differing}
        world.lake.verify(ref)
    assert all(rows_divide(world, day) for day in DAYS)
    vectors = world.lake.require("user_embeddings", DAYS[1])
    assert vectors.rows == vectors.figures["users"] == len(users_of(world))


def test_an_erasure_makes_nothing_new_work(world: Workspace) -> None:
    before = references(world)
    erase(world, users_of(world)[:40], at=AT)
    after = references(world)

    assert {key: ref["logical_id"] for key, ref in after.items()} == {
        key: ref["logical_id"] for key, ref in before.items()
    }
    assert all(one.is_skipped for one in take_in(world))
    assert references(world) == after


def test_a_day_that_is_built_again_does_not_bring_them_back(world: Workspace) -> None:
    gone = users_of(world)[:40]
    erase(world, gone, at=AT)
    erased = world.lake.require("raw_events", DAYS[0])

    for source in ("refs", "artifacts", "replaced"):
        for path in (world.root / "lake" / source / "raw_events").rglob(f"{DAYS[0]}*"):
            path.rename(world.root / f"moved-{source}-{path.name}")
    again = build_raw_events(world, DAYS[0], now=wall_clock())

    assert not again.is_skipped
    assert (again.ref.digest, again.ref.figures["erased"] > 0) == (erased.digest, True)
    assert residue(world.root, gone) == {}


def test_what_was_replaced_is_erased_too(world: Workspace) -> None:
    gone = users_of(world)[:40]
    before = world.lake.require("raw_events", DAYS[0])
    build_raw_events(world, DAYS[0], now=wall_clock(), as_of_day="2026-01-05")  # late events, too
    (kept,) = (world.root / "lake" / "replaced" / "raw_events" / DAYS[0]).iterdir()
    assert before.digest in kept.read_text()

    erase(world, gone, at=AT)

    assert residue(world.root, gone) == {}
    restored = world.lake.restore(
        "raw_events", DAYS[0], is_wanted=lambda ref: ref.logical_id == before.logical_id
    )
    assert restored is not None
    assert restored.digest != before.digest
    world.lake.verify(restored)


def test_what_an_earlier_release_laid_out_otherwise_is_counted_again(
    world: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = users_of(world)[:40]
    old = world.root / "lake" / "artifacts" / "quarantined_events"
    before = world.lake.require("quarantined_events", DAYS[0])
    for number, path in enumerate(sorted(old.glob(f"{DAYS[0]}/*/events-*.parquet"))):
        path.rename(path.with_name(f"events{number or ''}.parquet"))

    def refuse(*_: object) -> None:
        raise ContractError("want another layout")

    monkeypatch.setattr(erased_figures, "write_tokens", refuse)
    erase(world, [*gone, *users_below(world.lake.storage.folders.files(before.uri)) - {""}], at=AT)

    aside, valid, tokens = (
        world.lake.require(asset, DAYS[0])
        for asset in ("quarantined_events", "valid_events", "interaction_tokens")
    )
    assert aside.rows == aside.figures["rows"] == sum(aside.figures["by_rule"].values())
    assert aside.rows < before.rows
    assert tokens.figures["events_in"] == valid.rows
    lists = [open_bucket(path)["tokens"] for path in world.lake.path(tokens).glob("*.arrow")]
    assert tokens.rows == sum(len(one.flatten()) for one in lists)
    assert rows_divide(world, DAYS[0])


def test_what_arrived_too_late_is_erased_and_counted_apart(world: Workspace) -> None:
    before = world.lake.require("raw_events", DAYS[0])
    events = [f"events-{number:04d}.parquet" for number in range(8)]
    num_taken = before.figures["late_taken"]
    user = min(users_below(world.lake.storage.folders.files(before.uri)) - {""})

    def write(folder: Path) -> Written:
        shutil.copytree(world.lake.path(before), folder, dirs_exist_ok=True)
        tables = [pq.read_table(folder / name) for name in events]
        late = pa.concat_tables(tables).filter(pc.field("user_id") == user)
        pq.write_table(late, folder / "late.parquet")
        counts = {"late": late.num_rows + num_taken + 4, "too_late": late.num_rows}
        return Written(before.rows, {**before.figures, **counts})

    built = world.build("raw_events", DAYS[0], write, code_of=["lake.days"], as_of=AT).ref
    erase(world, [user], at=AT)

    after = world.lake.require("raw_events", DAYS[0])
    assert num_awaited(after) == num_awaited(built) == 4
    assert (after.figures["too_late"], after.figures["late"]) == (0, num_taken + 4)
    num_left = sum(pq.read_metadata(world.lake.path(after) / name).num_rows for name in events)
    assert after.rows == after.figures["rows"] == num_left < built.rows


def test_late_rows_that_were_taken_in_are_counted_again(world: Workspace, tmp_path: Path) -> None:
    as_of_day = "2026-01-05"
    before = build_raw_events(world, DAYS[0], now=wall_clock(), as_of_day=as_of_day).ref
    _, events = read_events(world.lake.path(before), ["user_id", "received_at"])
    complete_at = watermark_of(CONFIG, DAYS[0])
    late = events.filter(pc.field("received_at") >= complete_at)["user_id"].drop_null().unique()
    gone = sorted(user for user in late.to_pylist() if user)[::2]

    erase(world, gone, at=AT)

    after = world.lake.require("raw_events", DAYS[0])
    without = Workspace.create(tmp_path / "without", CONFIG)
    without.lake.tombstones().add(gone)
    fresh = build_raw_events(without, DAYS[0], now=wall_clock(), as_of_day=as_of_day).ref
    assert after.digest == fresh.digest
    assert after.figures["late_taken"] == fresh.figures["late_taken"] < before.figures["late_taken"]
    assert num_awaited(after) == num_awaited(before)


def test_a_second_erasure_finds_nothing(world: Workspace) -> None:
    gone = users_of(world)[:5]
    erase(world, gone, at=AT)
    after = references(world)

    again = erase(world, gone, at=AT)

    assert (again.rows, list(again.artifacts)) == (0, [])
    assert again.users == again.users_without_rows != []
    assert references(world) == after


def test_an_unknown_user_has_a_tombstone_and_no_rows(world: Workspace) -> None:
    before = references(world)
    certificate = erase(world, ["nobody-we-know"], at=AT)
    assert len(certificate.users_without_rows) == 1
    assert certificate.rows == 0
    assert references(world) == before
    assert "nobody-we-know" in world.lake.tombstones()


def test_the_certificate_says_what_was_done_and_names_nobody(world: Workspace) -> None:
    gone = users_of(world)[:5]
    before = references(world)

    certificate = erase(world, gone, at=AT)

    data = world.lake.storage.objects.get(certificate_key(certificate))
    kept = json.loads(data)
    assert kept == json.loads(json.dumps(certificate.to_json()))
    assert not any(user.encode() in data for user in gone)
    assert kept["erased_at"] == "2026-03-01T12:00:00+00:00"
    assert kept["rows"] == sum(one["rows"] for one in kept["artifacts"]) > 0
    for one in kept["artifacts"]:
        assert 0 < one["users"] <= 5
        was, ref = (
            before[one["asset"], one["partition"]],
            world.lake.require(one["asset"], one["partition"]),
        )
        assert (was["digest"], ref.digest) == (one["before"], one["after"])
    assert any("weights" in one["what"] for one in kept["left"])
    assert list(world.lake.storage.objects.list("erasures/open")) == []
    assert list(world.lake.storage.objects.list("erasures/requested")) == []


def test_pages_of_what_changed_are_removed(world: Workspace) -> None:
    gone = users_of(world)[:40]
    pictures = pages_folder(world.root) / "pictures" / "raw_events"
    other = pages_folder(world.root) / "pictures" / "catalogue" / f"{DAYS[0]}-x.png"
    docs = docs_folder(world.root, DAYS[0]) / "columns.html"
    report = report_path(world.root, "viewing_tokens", DAYS[0], "x")
    for path in (pictures / f"{DAYS[0]}-x.png", other, docs, report):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")

    erase(world, gone, at=AT)

    assert not (pictures / f"{DAYS[0]}-x.png").exists()
    assert not docs.parent.exists()
    assert not report.exists()
    assert other.exists()
    assert residue(world.root, gone) == {}


def test_another_key_erases_and_ingests_nothing(world: Workspace) -> None:
    erase(world, users_of(world)[:5], at=AT)
    before = references(world)
    reopened = Workspace.open(world.root, erasure_key="another")

    with pytest.raises(ErasureError, match=KEY_VARIABLE):
        erase(reopened, ["x"], at=AT)
    later = replace(reopened, config=replace(world.config, watermark_delay_h=30))
    with pytest.raises(ErasureError, match=KEY_VARIABLE):
        build_raw_events(later, DAYS[0], now=wall_clock())
    assert references(world) == before


def killed_after(root: Path, gone: list[str], writes: int) -> None:
    """Erase in this process, which dies at the given write or removal."""
    world = Workspace.open(root)
    left = [writes]

    def dying(do: Callable[..., object]) -> Callable[..., object]:
        def count(*arguments: object) -> object:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return do(*arguments)

        return count

    storage = world.lake.storage
    for place, names in (
        (storage.objects, ("put", "put_if_absent", "delete")),
        (storage.folders, ("commit", "remove")),
    ):
        for name in names:
            setattr(place, name, dying(getattr(place, name)))
    erase(world, gone, at=AT)
    os._exit(0)


def certified(workspace: Workspace) -> tuple[set[str], set[tuple[str, str, str, int]]]:
    """Return the users and the artifacts of all certificates."""
    objects, users, artifacts = workspace.lake.storage.objects, set[str](), set()
    for key in objects.list("erasures/certificates"):
        told = json.loads(objects.get(key))
        users.update(told["users"])
        for one in told["artifacts"]:
            artifacts.add((one["asset"], one["before"], one["after"], one["rows"]))
    return users, artifacts


def test_a_killed_erasure_is_finished_by_running_again(world: Workspace, tmp_path: Path) -> None:
    """Killed at ever later steps, until a call gets to its end; once begun, by naming nobody."""
    gone = [*users_of(world)[:40], "nobody-we-know"]
    shutil.copytree(world.root, tmp_path / "whole")
    whole = Workspace.open(tmp_path / "whole")
    erase(whole, gone, at=AT)

    # forked from a process that has imported everything and started no thread
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    for writes in range(1, 100, 5):
        named = [] if world.lake.tombstones() else gone
        process = context.Process(target=killed_after, args=(world.root, named, writes))
        process.start()
        process.join()
        for one in world.lake.built():
            world.lake.verify(world.lake.require(*one))
        if process.exitcode == 0:
            break
    assert process.exitcode == 0
    assert writes > 5
    assert residue(world.root, gone) == {}
    assert certified(world) == certified(whole)
    assert all(rows_divide(world, day) for day in DAYS)
    assert all(one.is_skipped for one in take_in(world))
