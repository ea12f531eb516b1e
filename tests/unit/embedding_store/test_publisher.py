from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from embedding_store.entries import ConsumerRegistered, ModelAccepted
from embedding_store.errors import (
    AlreadyPublishedError,
    CorruptVersionError,
    NoVersionError,
    PublicationRefusedError,
    StableMovedError,
)
from embedding_store.publisher import Publisher
from embedding_store.store import EmbeddingStore
from embedding_store.versions import open_version
from lake.digests import digest_files
from lake.log import CommitLog, Entry
from tests.unit.embedding_store.small_world import (
    SmallWorld,
    drifted,
    instant,
    quality,
    raw_world,
)


def kinds(world: SmallWorld) -> list[str]:
    return [entry.kind for entry in world.store.log.entries()]


def everything(world: SmallWorld) -> Mapping[str, str]:
    return digest_files(world.store.root)


def test_versions_are_numbered_from_one(world: SmallWorld) -> None:
    numbers = [publication.version.number for publication in world.serve(0, 1, 2)]
    assert numbers == [1, 2, 3]
    assert kinds(world) == ["version_published", "alias_set"] * 3
    stable = world.store.state().stable(1)
    assert (stable.name, stable.day, stable.judged_against) == (
        "v3",
        "2024-03-03",
        world.store.state().version(2).digest,
    )


def test_running_everything_again_changes_nothing(world: SmallWorld) -> None:
    first = world.serve(0, 1)
    before = everything(world)
    again = [SmallWorld(world.folder).publish(day) for day in (0, 1)]
    assert [one.version for one in again] == [one.version for one in first]
    assert all(one.is_existing for one in again)
    assert all(world.promote(one).is_existing for one in again)
    assert everything(world) == before


def test_a_day_with_a_version_of_other_work_is_refused(world: SmallWorld) -> None:
    world.serve(0)
    advice = r"already published as v1.*`marquee republish 2024-03-01`"
    with pytest.raises(AlreadyPublishedError, match=advice):
        world.publish(0, origin=world.origin(0, "other work"))
    assert kinds(world) == ["version_published", "alias_set"]


def test_republishing_makes_another_version_of_the_day(world: SmallWorld) -> None:
    world.serve(0)
    raw = drifted(world.raw, seed=50)
    again = world.publish(
        0,
        stabilised=world.stabilised(0, raw, name="-again"),
        origin=world.origin(0, "other work"),
        republish=True,
    )
    assert (again.version.number, again.is_existing) == (2, False)
    assert world.store.state().version_of_day("2024-03-01").number == 2
    assert world.store.state().stable(1).number == 1


def test_a_failed_gate_publishes_nothing_in_any_later_run(world: SmallWorld) -> None:
    world.serve(0)
    served = world.store.state().stable(1)
    for lower in (-0.5, 0.5, 0.5):
        with pytest.raises(PublicationRefusedError, match="model_quality"):
            SmallWorld(world.folder).publish(1, evidence=world.evidence(quality=quality(lower)))
    assert kinds(world) == ["version_published", "alias_set"]
    assert world.store.state().stable(1) == served


def test_vectors_of_another_world_are_not_published(world: SmallWorld) -> None:
    world.serve(0)
    with pytest.raises(PublicationRefusedError, match="item_similarity"):
        world.publish(1, stabilised=world.stabilised(1, raw_world(seed=77)))


def test_another_frame_is_published_beside_the_old_one(world: SmallWorld) -> None:
    world.serve(0)
    other = SmallWorld(world.folder, frame=2)
    opened = other.publish(1, stabilised=other.stabilised(1, raw_world(seed=77)))
    other.promote(opened)
    state = world.store.state()
    assert (state.stable(1).number, state.stable(2).number) == (1, 2)
    assert opened.version.judged_against is None


def test_vectors_that_were_not_turned_to_stable_are_refused(world: SmallWorld) -> None:
    stale = world.stabilised(0, name="-stale")
    world.serve(0)
    with pytest.raises(StableMovedError, match=r"frame 1 is v1.*stabilise and gate again"):
        world.publish(1, stabilised=stale)
    assert kinds(world) == ["version_published", "alias_set"]


def test_a_promotion_judged_against_what_was_stable_before_is_refused(world: SmallWorld) -> None:
    world.serve(0)
    one = world.publish(1)
    raw = drifted(world.raw, seed=60)
    other = world.publish(
        1,
        stabilised=world.stabilised(1, raw, name="-b"),
        origin=world.origin(1, "other work"),
        republish=True,
    )
    world.promote(one)
    with pytest.raises(StableMovedError, match="is v2, this was judged against"):
        world.promote(other, effective_at=instant(3))
    assert world.store.state().stable(1).number == one.version.number


class RivalLog(CommitLog):
    """A log in which a rival appends right before our first entry."""

    def __init__(self, world: SmallWorld, rival: Callable[[], object]) -> None:
        super().__init__(world.store.objects)
        self.rivals = [rival]

    def append(self, *args: object, **kwargs: object) -> Entry:
        while self.rivals:
            self.rivals.pop()()
        return super().append(*args, **kwargs)


def racing(world: SmallWorld, rival: Callable[[], object]) -> Publisher:
    store = EmbeddingStore(world.store.root)
    store.__dict__["log"] = RivalLog(world, rival)
    return Publisher(store, by="test")


def test_a_promotion_is_decided_again_when_the_log_moved_meanwhile(world: SmallWorld) -> None:
    world.serve(0)
    one = world.publish(1)
    other = world.publish(2)
    slow = racing(world, lambda: world.promote(one))
    with pytest.raises(StableMovedError):
        slow.promote(
            "stable",
            other.version.number,
            judged_against=other.version.judged_against,
            effective_at=instant(4),
            why="too late",
        )
    assert world.store.state().stable(1).number == one.version.number


def test_a_publication_is_decided_again_when_the_log_moved_meanwhile(world: SmallWorld) -> None:
    world.serve(0)
    stabilised = {day: world.stabilised(day) for day in (1, 2)}
    slow = racing(world, lambda: world.publish(1))
    third = slow.publish(
        stabilised[2],
        origin=world.origin(2),
        evidence=world.evidence(),
        effective_at=instant(3),
        why="slow",
    )
    assert (third.version.number, third.version.day) == (3, "2024-03-03")
    again = racing(world, lambda: world.publish(3)).publish(
        world.stabilised(3),
        origin=world.origin(3),
        evidence=world.evidence(),
        effective_at=instant(4),
        why="the same work, slower",
    )
    assert (again.version.number, again.is_existing) == (4, True)
    assert kinds(world).count("version_published") == 4


class OvertakenLog(RivalLog):
    """A log in which a rival appends right behind our first entry."""

    def append(self, *args: object, **kwargs: object) -> Entry:
        entry = CommitLog.append(self, *args, **kwargs)
        while self.rivals:
            self.rivals.pop()()
        return entry


def overtaken(world: SmallWorld, rival: Callable[[], object]) -> Publisher:
    store = EmbeddingStore(world.store.root)
    store.__dict__["log"] = OvertakenLog(world, rival)
    return Publisher(store, by="test")


def test_a_rollback_answers_its_own_switch_when_a_rival_is_right_behind(world: SmallWorld) -> None:
    world.serve(0, 1, 2)
    rival = world.publisher
    mine = overtaken(world, lambda: rival.rollback(1, effective_at=instant(6), why="the rival's"))
    switch = mine.rollback(1, effective_at=instant(5), why="mine")
    assert (switch.number, switch.effective_at, switch.why) == (2, instant(5), "mine")
    assert world.store.state().stable(1).number == 1


def test_a_rollback_is_not_repeated_when_stable_moved_meanwhile(world: SmallWorld) -> None:
    world.serve(0, 1, 2)
    publisher = world.publisher
    slow = racing(world, lambda: publisher.rollback(1, effective_at=instant(5), why="the rival's"))
    with pytest.raises(StableMovedError, match="ask again"):
        slow.rollback(1, effective_at=instant(6), why="mine")
    assert world.store.state().stable(1).number == 2


def test_the_canary_changes_nothing_for_consumers_of_stable(world: SmallWorld) -> None:
    world.serve(0)
    publication = world.publish(1)
    world.promote(publication, alias="canary")
    state = world.store.state()
    assert (state.stable(1).number, state.canary(1).number) == (1, 2)
    assert not list(world.store.history_folder(1, "user").glob("*3.parquet"))
    world.promote(publication)
    state = world.store.state()
    assert (state.stable(1).number, state.canary(1), state.previous(1).number) == (2, None, 1)


def test_what_was_served_is_never_changed_afterwards(world: SmallWorld) -> None:
    world.serve(0)
    second = world.publish(1, effective_at=instant(1))
    with pytest.raises(PublicationRefusedError, match="it cannot be promoted at"):
        world.promote(second, effective_at=instant(0, 23))
    with pytest.raises(PublicationRefusedError, match="choose an instant after it"):
        world.promote(second, effective_at=instant(1, 1))
    world.promote(second, effective_at=instant(1, 2))
    with pytest.raises(PublicationRefusedError, match="choose an instant after it"):
        world.publisher.rollback(1, effective_at=instant(1, 2), why="late")


def test_an_unknown_alias_or_version_is_refused(world: SmallWorld) -> None:
    (publication,) = world.serve(0)
    with pytest.raises(PublicationRefusedError, match="alias: want one of"):
        world.promote(publication, alias="previous")
    with pytest.raises(NoVersionError, match="v9"):
        world.publisher.promote(
            "stable", 9, judged_against=None, effective_at=instant(9), why="typing error"
        )


def test_a_version_without_its_gate_record_is_not_promoted(world: SmallWorld) -> None:
    world.serve(0)
    publication = world.publish(1)
    key, objects = world.gate_key(publication.version.digest), world.store.objects
    objects.put(key, objects.get(key).replace(b"true", b"true "))
    with pytest.raises(PublicationRefusedError, match="is gone or changed"):
        world.promote(publication)
    objects.delete(key)
    with pytest.raises(PublicationRefusedError, match="is gone or changed"):
        world.promote(publication)
    assert world.store.state().stable(1).number == 1


def test_a_corrupted_version_is_not_promoted(world: SmallWorld) -> None:
    world.serve(0)
    publication = world.publish(1)
    folder = world.store.version_folder(publication.version.digest)
    (folder / "user/part-0.parquet").write_bytes(b"")
    with pytest.raises(CorruptVersionError):
        world.promote(publication)
    assert world.store.state().stable(1).number == 1


def test_a_rollback_restores_every_byte(world: SmallWorld) -> None:
    world.serve(0, 1)
    before = open_version(world.store.version_folder(world.store.state().stable(1).digest))
    files = digest_files(before.folder)
    world.serve(2)
    switch = world.publisher.rollback(1, effective_at=instant(4), why="worse than it looked")
    after = world.store.state().stable(1)
    assert (switch.number, switch.is_rollback, after.digest) == (2, True, before.digest)
    assert digest_files(world.store.version_folder(after.digest)) == files
    assert world.store.log.entries()[-1].body["from_number"] == 3


def test_rolling_back_to_a_version_by_number(world: SmallWorld) -> None:
    world.serve(0, 1, 2)
    assert world.publisher.rollback(1, to=1, effective_at=instant(5), why="x").number == 1
    same = world.publisher.rollback(1, to=1, effective_at=instant(6), why="x")
    assert (same.number, same.effective_at) == (1, instant(5))
    with pytest.raises(
        PublicationRefusedError, match=r"v3 is not among.*\(none\): `marquee promote 3`"
    ):
        world.publisher.rollback(1, to=3, effective_at=instant(7), why="x")


def test_there_must_be_something_to_roll_back_to(world: SmallWorld) -> None:
    with pytest.raises(NoVersionError, match="no stable version"):
        world.publisher.rollback(1, effective_at=instant(5), why="x")
    world.serve(0)
    with pytest.raises(NoVersionError, match="no version before the stable one"):
        world.publisher.rollback(1, effective_at=instant(5), why="x")


def test_a_rollback_to_a_corrupted_version_is_refused(world: SmallWorld) -> None:
    first, _ = world.serve(0, 1)
    (world.store.version_folder(first.version.digest) / "item/part-0.parquet").unlink()
    with pytest.raises(CorruptVersionError, match=r"v1 cannot be served.*another version"):
        world.publisher.rollback(1, effective_at=instant(5), why="x")
    assert world.store.state().stable(1).number == 2


def test_running_a_day_again_does_not_undo_a_rollback(world: SmallWorld) -> None:
    _, second = world.serve(0, 1)
    world.publisher.rollback(1, effective_at=instant(5), why="bad")
    assert world.promote(world.publish(1)).is_existing
    assert world.store.state().stable(1).number == 1
    first = world.store.state().version(1)
    again = world.promote(second, judged_against=first.digest, effective_at=instant(6), again=True)
    assert not again.is_existing
    assert world.store.state().stable(1).number == 2


def test_the_day_after_a_rollback_is_judged_against_what_it_returned_to(world: SmallWorld) -> None:
    first, _ = world.serve(0, 1)
    world.publisher.rollback(1, effective_at=instant(2, 5), why="bad")
    third = world.publish(2)
    world.promote(third)
    assert third.version.judged_against == first.version.digest
    state = world.store.state()
    assert (state.stable(1).number, state.previous(1).number) == (3, 1)


def test_a_retired_version_is_never_named_again(world: SmallWorld) -> None:
    first, second = world.serve(0, 1)
    with pytest.raises(PublicationRefusedError, match="v2 is stable of frame 1"):
        world.publisher.retire(2, effective_at=instant(5), why="x")
    retired = world.publisher.retire(1, effective_at=instant(5), why="old")
    assert retired.is_retired
    assert world.publisher.retire(1, effective_at=instant(6), why="again").is_retired
    assert kinds(world).count("version_retired") == 1
    with pytest.raises(NoVersionError):
        world.publisher.rollback(1, effective_at=instant(6), why="x")
    with pytest.raises(PublicationRefusedError, match="v1 is retired"):
        world.promote(
            first, judged_against=second.version.digest, effective_at=instant(6), again=True
        )


def test_a_version_on_trial_may_be_given_up(world: SmallWorld) -> None:
    world.serve(0)
    publication = world.publish(1)
    world.promote(publication, alias="canary")
    world.publisher.retire(2, effective_at=instant(5), why="its files are lost")
    state = world.store.state()
    assert state.canary(1) is None
    assert state.stable(1).number == 1
    assert state.version_of_day("2024-03-02") is None


def test_a_damaged_version_can_be_rolled_back_from(world: SmallWorld) -> None:
    _, second = world.serve(0, 1)
    (world.store.version_folder(second.version.digest) / "item/part-0.parquet").unlink()
    assert world.publisher.rollback(1, effective_at=instant(5), why="damaged").number == 1
    assert world.publisher.retire(2, effective_at=instant(6), why="lost").is_retired


def model(digest: str = "d") -> ModelAccepted:
    return ModelAccepted(
        partition="2024-02-01", role="base", digest=digest, uri="x", logical_id=f"of {digest}"
    )


def test_the_same_work_is_accepted_once(world: SmallWorld) -> None:
    accepted = [
        world.publisher.accept_model(model(), effective_at=instant(0), why="gates")
        for _ in range(2)
    ]
    assert accepted[0] == accepted[1]
    assert kinds(world) == ["model_accepted"]
    world.publisher.accept_model(model("e"), effective_at=instant(0), why="gates")
    assert world.store.state().base_of_day("2024-03-01").digest == "e"


def test_consumers_are_registered_once(world: SmallWorld) -> None:
    for _ in range(2):
        world.publisher.register_consumer(
            ConsumerRegistered(name="ranker", frame=1), effective_at=instant(0), why="reads f1"
        )
    assert kinds(world) == ["consumer_registered"]


def test_an_entry_says_who_and_why(world: SmallWorld) -> None:
    world.serve(0)
    entry = world.store.log.entries()[-1]
    assert (entry.by, entry.why, entry.body["reason"]) == ("test", "gates passed", "gates passed")


def test_a_read_only_store_is_left_untouched_by_reading(served_world: SmallWorld) -> None:
    before = everything(served_world)
    EmbeddingStore(Path(served_world.store.root)).state()
    assert everything(served_world) == before


def test_a_retired_version_is_not_published_again_by_running_its_day(world: SmallWorld) -> None:
    world.serve(0, 1)
    world.publisher.rollback(1, effective_at=instant(5), why="x")
    world.publisher.retire(2, effective_at=instant(6), why="x")

    again = world.publish(1)

    assert again.is_existing
    assert again.version.number == 2
    assert again.version.is_retired
    assert world.publish(1, republish=True).version.number == 3


def test_an_operators_promotion_is_logged_with_what_was_judged(world: SmallWorld) -> None:
    first, second, _ = world.serve(0, 1, 2)
    world.publisher.rollback(1, to=1, effective_at=instant(8), why="x")

    world.publisher.promote(
        "stable",
        3,
        judged_against=second.version.digest,
        effective_at=instant(9),
        why="x",
        again=True,
    )

    switch = world.store.state().stable_switches(1)[-1]
    assert switch.number == 3
    assert switch.judged_against == second.version.digest != first.version.digest
