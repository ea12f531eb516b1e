"""Users erased from published versions: nothing of them stays, and readers and rollback go on."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedding_store import publisher as publishing
from embedding_store.checks import check
from embedding_store.client import EmbeddingClient
from embedding_store.contracts import embedding_table
from embedding_store.entries import VersionsErased
from embedding_store.erasing import due_erasure
from embedding_store.errors import (
    CorruptVersionError,
    ErasedUsersError,
    PublicationRefusedError,
)
from embedding_store.gates import published_record
from embedding_store.history import part_path
from embedding_store.manifest import Coverage
from embedding_store.parts import read_shard, write_part
from embedding_store.staging import ActiveUsers
from lake.objects import MemoryObjects
from lake.tombstones import Tombstones
from tests.residue import residue
from tests.unit.embedding_store.processes import die_at_step, erase_users, start
from tests.unit.embedding_store.small_world import SmallWorld, drifted, instant, quality

GONE = ["user-3", "user-17", "user-42"]
STEPS = ("version-rewritten", "erasure-logged", "history-written", "version-removed")


def tombstones(*users: str, secret: str = "") -> Tombstones:
    erased = Tombstones(MemoryObjects(), secret=secret)
    erased.add(users)
    return erased


def erase(world: SmallWorld, *users: str) -> VersionsErased | None:
    return world.publisher.erase(tombstones(*users), effective_at=instant(50), why="asked for")


def ids_left(world: SmallWorld, *users: str) -> dict[str, int]:
    """Where the store still has the ids, on the disk and in the bucket."""
    quoted = [f"'{user}'" for user in users]  # as a table's value: user-4 is no part of user-42
    found = residue(world.store.root, quoted)
    if world.bucket:
        copy = world.folder / "bucket"
        for key in world.store.objects.list("versions"):
            (copy / key).parent.mkdir(parents=True, exist_ok=True)
            (copy / key).write_bytes(world.store.objects.get(key))
        found |= residue(copy, quoted)
        shutil.rmtree(copy, ignore_errors=True)
    return found


def test_an_erased_user_is_in_no_version_and_no_history(world: SmallWorld) -> None:
    world.serve(0, 1)
    world.publisher.rollback(1, effective_at=instant(5), why="a test")
    before = world.store.state()
    assert ids_left(world, *GONE)

    logged = erase(world, *GONE)

    assert ids_left(world, *GONE) == {}
    assert check(world.store) == []
    state = world.store.state()
    for number, version in state.versions.items():
        assert version.digest != before.versions[number].digest
        assert version.published_digest == before.versions[number].digest
        assert version.gate_sha256 == before.versions[number].gate_sha256
        assert published_record(world.store, version).is_passed
        opened = world.store.open(version)
        opened.verify()
        assert opened.manifest.rows("user") == 57
        assert opened.manifest.coverage == Coverage(definition="any token", required=57, covered=57)
    assert logged is not None
    assert {one["rows"] for one in logged.replacements.values()} == {3}
    assert not any(user in str(logged) for user in GONE)
    assert state.stable(1).number == 1
    assert state.stacks == before.stacks
    pinned = EmbeddingClient(world.store.root).pin()
    users = pinned.users(["user-3", "user-4"])
    assert users.is_found.tolist() == [False, True]
    np.testing.assert_array_equal(users.vectors[0], pinned.default_user)


def test_all_other_bytes_stay(world: SmallWorld) -> None:
    world.serve(0)
    before = world.store.open(world.store.state().stable(1))
    kept = {one.path: bytes(before.read(one)) for one in before.manifest.files}
    shards = {one.path: before.shard(one, "user") for one in before.manifest.parts("user")}

    erase(world, *GONE)

    after = world.store.open(world.store.state().stable(1))
    changed = []
    for record in after.manifest.files:
        data = bytes(after.read(record))
        if data == kept[record.path]:
            continue
        changed.append(record.path)
        rows = [n for n, one in enumerate(shards[record.path].ids.to_pylist()) if one not in GONE]
        left = shards[record.path]
        table = embedding_table("user", left.ids.take(rows), left.vectors[rows])
        write_part(world.folder / "expected.parquet", table)
        assert data == (world.folder / "expected.parquet").read_bytes()
    assert changed
    assert all(path.startswith("user/") for path in changed)
    assert after.manifest.origin == before.manifest.origin
    assert after.manifest.reference == before.manifest.reference


def test_the_same_erasure_again_does_nothing(world: SmallWorld) -> None:
    world.serve(0)
    erase(world, *GONE)
    seq, stored = world.store.state().seq, world.store.stored_versions()
    written = {path: path.stat().st_mtime_ns for path in world.store.root.glob("history/**/*")}

    assert erase(world, *GONE) is None

    assert world.store.state().seq == seq
    assert world.store.stored_versions() == stored
    assert written == {path: path.stat().st_mtime_ns for path in written}


def test_what_a_kill_or_a_backup_left_of_before_is_found_and_removed(world: SmallWorld) -> None:
    (served,) = world.serve(0)
    aside = world.folder / "backup"
    shutil.copytree(world.store.version_folder(served.version.digest), aside)
    erase(world, *GONE)
    world.store.commit_version(aside, served.version.digest)

    (problem,) = check(world.store)
    assert "run `marquee erase`" in problem

    assert erase(world, *GONE) is None
    assert check(world.store) == []
    assert ids_left(world, *GONE) == {}


def test_a_second_erasure_leads_from_every_earlier_digest(world: SmallWorld) -> None:
    world.serve(0, 1)
    client = EmbeddingClient(world.store.root)
    first, by_number = client.pin(), client.pin_number(1)
    erase(world, "user-3")
    second = client.pin()
    erase(world, "user-4")

    state = world.store.state()
    stable = state.stable(1)
    for pinned in (first, second):
        assert state.is_same(pinned.digest, stable)
        assert world.store.version_folder(pinned.digest).name == stable.digest
        assert pinned.users(["user-3", "user-4", "user-5"]).is_found.tolist() == [
            False,
            False,
            True,
        ]
        assert pinned.refresh().digest == stable.digest
    assert not by_number.users(GONE[:1]).is_found.any()
    by_number.verify()
    assert all(path.exists() for path in by_number.files("user"))
    judged = {one.judged_against for one in state.versions.values()} - {None}
    assert {state.current_digest(one) for one in judged} == {state.version(1).digest}


def test_a_reader_who_cannot_be_led_on_is_told_in_the_words_of_the_store(
    world: SmallWorld,
) -> None:
    world.serve(0)
    pinned = EmbeddingClient(world.store.root).pin()
    erase(world, *GONE)
    world.store.objects.put("log/00000000000000000003.json", b"damaged")
    with pytest.raises(CorruptVersionError, match="log entry"):
        pinned.users(GONE)


def test_a_promotion_and_a_rollback_by_an_earlier_digest_go_on(world: SmallWorld) -> None:
    world.serve(0)
    waiting = world.publish(1)
    judged_against = world.store.state().stable(1).digest
    erase(world, *GONE)

    promoted = world.promote(waiting, judged_against=judged_against)
    world.publisher.rollback(1, effective_at=instant(9), why="a test")

    assert promoted.switch.number == 2
    assert world.store.state().stable(1).number == 1
    assert check(world.store) == []
    assert ids_left(world, *GONE) == {}


def test_the_next_day_is_stabilised_onto_what_was_rewritten(world: SmallWorld) -> None:
    world.serve(0)
    stabilised = world.stabilised(1, without(world, *GONE))
    erase(world, *GONE)

    left = [one for one in world.raw.user_ids if one not in GONE]
    evidence = world.evidence(active_users=ActiveUsers("any token", left))
    world.promote(world.publish(1, stabilised=stabilised, evidence=evidence))

    assert world.store.state().stable(1).number == 2
    assert check(world.store) == []


def without(world: SmallWorld, *users: str) -> object:
    """The next day's raw vectors, made of a lake from which the users were erased."""
    raw = drifted(world.raw, seed=1)
    rows = [n for n, one in enumerate(raw.user_ids) if one not in users]
    return replace(raw, users=raw.users[rows], user_ids=[raw.user_ids[n] for n in rows])


def test_vectors_from_before_the_erasure_are_refused_and_removed(world: SmallWorld) -> None:
    world.serve(0)
    world.stabilised(1)
    erase(world, *GONE)

    with pytest.raises(ErasedUsersError, match="3 users who were erased since") as told:
        world.publish(1)

    assert not any(user in str(told.value) for user in GONE)
    assert ids_left(world, *GONE) == {}
    assert len(world.store.state().versions) == 1


def test_an_erasure_during_a_publication_wins_the_slot(
    world: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.serve(0)
    judge = publishing.judge

    def erased_meanwhile(*given: object, **named: object) -> object:
        judged = judge(*given, **named)
        erase(world, *GONE)
        return judged

    monkeypatch.setattr(publishing, "judge", erased_meanwhile)

    with pytest.raises(ErasedUsersError, match="run its day again"):
        world.publish(1)

    assert ids_left(world, *GONE) == {}
    assert len(world.store.state().versions) == 1


def test_a_publication_during_an_erasure_is_rewritten_too(
    world: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.serve(0)
    due = publishing.due_erasure

    def published_meanwhile(*given: object) -> VersionsErased | None:
        found = due(*given)
        if len(world.store.state().versions) == 1:
            world.publish(1)
        return found

    monkeypatch.setattr(publishing, "due_erasure", published_meanwhile)

    logged = erase(world, *GONE)

    assert logged is not None
    assert len(logged.replacements) == 2
    assert [entry.kind for entry in world.store.log.entries()].count(logged.kind) == 1
    assert ids_left(world, *GONE) == {}
    assert check(world.store) == []


def test_whoever_was_erased_without_a_row_may_not_be_published_either(world: SmallWorld) -> None:
    logged = erase(world, *GONE)

    assert logged is not None
    assert not logged.replacements
    with pytest.raises(ErasedUsersError):
        world.publish(0)


def test_what_a_gate_refused_is_removed_where_it_holds_the_erased(world: SmallWorld) -> None:
    world.serve(0)
    with pytest.raises(PublicationRefusedError):
        world.publish(1, evidence=world.evidence(quality=quality(lower=-1.0)))
    raw = without(world, *GONE)
    left = ActiveUsers("any token", raw.user_ids)
    with pytest.raises(PublicationRefusedError):
        world.publish(
            2,
            stabilised=world.stabilised(2, raw),
            evidence=world.evidence(active_users=left, quality=quality(lower=-1.0)),
        )
    assert len(world.store.stored_versions()) == 3

    erase(world, *GONE)

    assert ids_left(world, *GONE) == {}
    assert len(world.store.stored_versions()) == 2


def test_a_retired_version_is_rewritten_too(world: SmallWorld) -> None:
    world.serve(0, 1)
    world.publisher.retire(1, effective_at=instant(9), why="a test")

    erase(world, *GONE)

    assert ids_left(world, *GONE) == {}
    served = EmbeddingClient(world.store.root).pin(as_of=instant(1, 2))
    assert served.number == 1
    assert served.users(["user-3", "user-4"]).is_found.tolist() == [False, True]


def test_a_version_whose_files_are_gone_does_not_hold_up_the_others(world: SmallWorld) -> None:
    world.serve(0, 1)
    state = world.store.state()
    shutil.rmtree(world.store.root / "versions" / state.version(1).digest, ignore_errors=True)
    world.store.remove_version(state.version(1).digest)

    logged = erase(world, *GONE)

    assert logged is not None
    assert list(logged.replacements) == [state.version(2).digest]
    assert ids_left(world, *GONE) == {}


def test_a_damaged_version_with_erased_users_is_named(world: SmallWorld) -> None:
    (first,) = world.serve(0)
    folder = world.store.version_folder(first.version.digest)
    (folder / "item/part-0.parquet").write_bytes(b"")

    with pytest.raises(CorruptVersionError, match=r"item/part-0.parquet"):
        world.publisher.erase(tombstones(*GONE), effective_at=instant(50), why="asked for")

    assert not world.store.state().erasures


def test_another_key_is_refused_before_anybody_comes_back(world: SmallWorld) -> None:
    world.serve(0)
    erase(world, *GONE)
    other = tombstones(*GONE, secret="another")
    with pytest.raises(PublicationRefusedError, match="MARQUEE_ERASURE_KEY"):
        world.publisher.erase(other, effective_at=instant(50), why="asked for")

    world.erasure_key = "another"
    with pytest.raises(PublicationRefusedError, match="MARQUEE_ERASURE_KEY"):
        world.publish(1)


@pytest.fixture
def elsewhere(s3_url: str, tmp_path: Path) -> SmallWorld:
    """Two versions in a bucket, none of which this machine has."""
    world = SmallWorld(tmp_path, bucket=s3_url)
    world.serve(0, 1)
    shutil.rmtree(world.store.root / "cache")
    return world


def test_a_version_in_a_bucket_is_downloaded_only_if_it_is_rewritten(elsewhere: SmallWorld) -> None:
    store, cached = elsewhere.store, elsewhere.store.root / "cache" / "versions"

    nobody = due_erasure(store, store.state(), tombstones("nobody-we-know"))
    assert nobody is not None
    assert nobody.replacements == {}
    assert not cached.exists()

    entry = due_erasure(store, store.state(), tombstones(*GONE))
    assert entry is not None
    assert {one["rows"] for one in entry.replacements.values()} == {3}
    assert len(list(cached.iterdir())) == 4


def test_a_damaged_version_in_a_bucket_is_named(elsewhere: SmallWorld) -> None:
    store, digest = elsewhere.store, elsewhere.store.state().stable(1).digest
    store.objects.delete(f"versions/{digest}/user/part-0.parquet")

    with pytest.raises(CorruptVersionError, match=r"user/part-0\.parquet"):
        due_erasure(store, store.state(), tombstones("nobody-we-know"))


@pytest.fixture(params=STEPS)
def killed(world: SmallWorld, request: pytest.FixtureRequest) -> SmallWorld:
    """A world whose erasure was killed right after a step."""
    world.serve(0, 1)
    child = start(erase_users, world.folder, GONE, (die_at_step, request.param, 1))
    child.join()
    assert child.exitcode == -9
    return world


def test_a_killed_erasure_is_finished_by_the_same_command(killed: SmallWorld) -> None:
    users = EmbeddingClient(killed.store.root).pin().users(["user-4"])
    assert users.is_found.all()

    erase(killed, *GONE)

    assert ids_left(killed, *GONE) == {}
    assert [entry.kind for entry in killed.store.log.entries()].count("versions_erased") == 1
    assert check(killed.store) == []
    assert killed.unfinished() == []
    assert len(killed.store.stored_versions()) == 2


def test_history_parts_are_of_the_rewritten_versions(world: SmallWorld) -> None:
    world.serve(0, 1)
    erase(world, *GONE)
    state = world.store.state()
    for switch in state.stable_switches(1):
        path: Path = part_path(world.store, switch, "user")
        version = world.store.open(state.version(switch.number))
        assert path.stat().st_size > 0
        held = [
            one
            for record in version.manifest.parts("user")
            for one in read_shard(
                version.read(record), "user", version.manifest.dim
            ).ids.to_pylist()
        ]
        assert not set(held) & set(GONE)
