from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedding_store.entries import (
    AliasSet,
    AnyBody,
    CanaryWithdrawn,
    ConsumerRegistered,
    ConsumerRemoved,
    FrameOpened,
    FrameRetired,
    ModelAccepted,
    VersionPublished,
    VersionRetired,
    VersionRolledBack,
    VersionsErased,
    to_body,
)
from embedding_store.errors import NoBaseModelError, NoVersionError, UnknownEntryError
from embedding_store.folding import fold
from embedding_store.state import StoreState
from lake.log import CommitLog, Entry
from lake.objects import MemoryObjects
from tests.unit.embedding_store.small_world import day_name, instant

Timed = tuple[datetime, AnyBody]


def entries(bodies: Iterable[Timed]) -> tuple[Entry, ...]:
    log = CommitLog(MemoryObjects())
    for at, body in bodies:
        log.append(body.kind, to_body(body), effective_at=at, by="test", why="test")
    return log.entries()


def state(*bodies: Timed, as_of: datetime | None = None) -> StoreState:
    return fold(entries(bodies), as_of)


def model(name: str, role: str = "daily") -> ModelAccepted:
    return ModelAccepted(
        partition=name, role=role, digest=name, uri=name, logical_id=name, metrics={}
    )


def published(number: int, day: int = 0, frame: int = 1, **changes: object) -> VersionPublished:
    fields: dict = {
        "digest": f"digest-{number}",
        "number": number,
        "frame": frame,
        "day": day_name(day),
        "as_of": instant(day + 1).isoformat(),
        "logical_id": f"work-{number}",
        "model_digest": "m",
        "judged_against": None,
        "manifest_sha256": f"manifest-{number}",
        "gate_sha256": "g",
    }
    return VersionPublished(**{**fields, **changes})


def promoted(number: int, alias: str = "stable", frame: int = 1) -> AliasSet:
    return AliasSet(
        alias=alias,
        frame=frame,
        version=f"digest-{number}",
        number=number,
        judged_against=None,
        reason="",
    )


def rolled_back(start: int, to: int) -> VersionRolledBack:
    return VersionRolledBack(frame=1, from_number=start, to_number=to, to_version=f"digest-{to}")


def test_a_day_starts_from_the_newest_model_accepted_by_its_first_instant() -> None:
    folded = state(
        (instant(0), model("monthly", "base")),
        (instant(1), model("day 0")),
        (instant(2), model("day 1")),
    )
    assert folded.base_of_day(day_name(0)).digest == "monthly"
    assert folded.base_of_day(day_name(1)).digest == "day 0"
    assert folded.base_of_day(day_name(2)).digest == "day 1"
    assert folded.base_of_day(day_name(9)).digest == "day 1"


def test_a_monthly_base_comes_before_a_daily_model_of_the_same_instant() -> None:
    for order in ([0, 1], [1, 0]):
        both = [(instant(0), model("daily")), (instant(0), model("monthly", "base"))]
        assert state(*(both[n] for n in order)).base_of_day(day_name(0)).digest == "monthly"


def test_a_later_daily_model_comes_before_an_older_base() -> None:
    folded = state((instant(0), model("monthly", "base")), (instant(1), model("daily")))
    assert folded.base_of_day(day_name(1)).digest == "daily"


def test_a_model_accepted_again_replaces_its_predecessor_of_the_same_instant() -> None:
    folded = state((instant(0), model("one", "base")), (instant(0), model("other", "base")))
    assert folded.base_of_day(day_name(0)).digest == "other"


def test_the_champion_is_the_newest_daily_model_until_a_daily_model_follows_the_base() -> None:
    folded = state(
        (instant(0), model("first base", "base")),
        (instant(1), model("day 0")),
        (instant(2), model("day 1")),
        (instant(2), model("second base", "base")),
    )
    champions = [folded.champion(at=instant(n)) for n in (-1, 0, 1, 2)]
    assert [one and one.digest for one in champions] == [None, "first base", "day 0", "day 1"]
    assert folded.champion() == champions[-1]


def test_a_model_whose_version_was_rolled_back_from_is_passed_over_until_it_returns() -> None:
    served = [
        (instant(0), model("base", "base")),
        (instant(1), model("good")),
        (instant(1), published(1, model_digest="good")),
        (instant(1, 3), promoted(1)),
        (instant(2), model("bad")),
        (instant(2), published(2, model_digest="bad")),
        (instant(2, 3), promoted(2)),
    ]
    rolled = [*served, (instant(2, 9), rolled_back(2, 1))]
    returned = [*rolled, (instant(2, 12), promoted(2))]
    for bodies, expected in ((served, "bad"), (rolled, "good"), (returned, "bad")):
        folded = state(*bodies)
        assert folded.base_of_day(day_name(2)).digest == expected
        champion = folded.champion(at=instant(2))
        assert champion is not None
        assert champion.digest == expected


def withdrawn(number: int, frame: int = 1) -> CanaryWithdrawn:
    return CanaryWithdrawn(
        frame=frame, version=f"digest-{number}", number=number, because="too different"
    )


def test_a_model_whose_version_was_withdrawn_is_passed_over_until_a_person_promotes_it() -> None:
    tried = [
        (instant(0), model("base", "base")),
        (instant(1), model("good")),
        (instant(1), published(1, model_digest="good")),
        (instant(1, 3), promoted(1)),
        (instant(2), model("bad")),
        (instant(2), published(2, model_digest="bad")),
        (instant(2, 3), promoted(2, "canary")),
    ]
    left = [*tried, (instant(2, 4), withdrawn(2))]
    watched = [*left, (instant(2, 8), promoted(2, "canary"))]
    by_hand = [*left, (instant(2, 9), promoted(2))]
    rolled = [*by_hand, (instant(2, 12), rolled_back(2, 1))]
    wanted = ((tried, "bad"), (left, "good"), (watched, "good"), (by_hand, "bad"), (rolled, "good"))
    for bodies, expected in wanted:
        folded = state(*bodies)
        assert folded.base_of_day(day_name(2)).digest == expected
        assert folded.champion(at=instant(2)).digest == expected
    assert state(*left).left == {2: "too different"}
    assert state(*rolled).left == {2: "test"}


def test_a_withdrawn_version_that_was_promoted_and_then_given_up_keeps_its_model_trusted() -> None:
    folded = state(
        (instant(1), model("first")),
        (instant(1), published(1, model_digest="first")),
        (instant(1, 3), withdrawn(1)),
        (instant(1, 4), promoted(1)),
        (instant(2), published(2, model_digest="second")),
        (instant(2, 3), promoted(2)),
        (instant(3), VersionRetired(number=1, version="digest-1")),
    )
    assert folded.champion().digest == "first"


def test_a_model_that_another_frame_serves_is_trusted_when_one_frame_withdraws_it() -> None:
    folded = state(
        (instant(1), model("shared")),
        (instant(1), published(1, model_digest="shared")),
        (instant(1, 3), promoted(1)),
        (instant(1), published(2, frame=2, model_digest="shared")),
        (instant(1, 4), withdrawn(2, frame=2)),
    )
    assert folded.champion().digest == "shared"


def test_a_model_whose_version_was_given_up_behind_newer_ones_stays_trusted() -> None:
    folded = state(
        (instant(1), model("first")),
        (instant(1), published(1, model_digest="first")),
        (instant(1, 3), promoted(1)),
        (instant(2), model("second")),
        (instant(2), published(2, model_digest="second")),
        (instant(2, 3), promoted(2)),
        (instant(3), VersionRetired(number=1, version="digest-1")),
    )
    assert folded.base_of_day(day_name(1)).digest == "first"
    assert folded.champion(at=instant(1)).digest == "first"


def test_of_two_versions_with_one_digest_either_may_be_given_up() -> None:
    folded = state(
        (instant(1), published(1, digest="same")),
        (instant(2), published(2, digest="same")),
        (instant(3), VersionRetired(number=1, version="same")),
    )
    assert [one.number for one in folded.live_versions(1)] == [2]


def test_a_day_without_a_model_names_the_partition_to_run() -> None:
    folded = state((instant(1), model("too late", "base")))
    for day, month in (
        ("2024-03-01", "2024-02-01"),
        ("2022-05-01", "2022-04-01"),
        ("2022-05-10", "2022-04-01"),
    ):
        with pytest.raises(NoBaseModelError, match=f"run {month} --job monthly_pretraining"):
            folded.base_of_day(day)


def test_the_version_of_a_day_is_the_newest_that_is_not_retired() -> None:
    folded = state(
        (instant(1), published(1)),
        (instant(1), published(2)),
        (instant(1), published(3)),
        (instant(2), VersionRetired(number=3, version="digest-3")),
    )
    newest = folded.version_of_day(day_name(0))
    assert newest is not None
    assert newest.number == 2
    assert folded.version_of_day(day_name(1)) is None
    assert folded.next_number == 4
    assert [version.number for version in folded.live_versions(1)] == [1, 2]


def test_stable_and_previous_are_the_last_two_promotions() -> None:
    folded = state(
        *((instant(n), published(n, n)) for n in (1, 2, 3)),
        *((instant(n, 1), promoted(n)) for n in (1, 2, 3)),
    )
    assert (folded.stable(1).number, folded.previous(1).number) == (3, 2)
    assert [(at, version.name) for at, version in folded.served(1)] == [
        (instant(n, 1), f"v{n}") for n in (1, 2, 3)
    ]


def test_rolling_back_twice_goes_back_two() -> None:
    before = (
        *((instant(n), published(n, n)) for n in (1, 2, 3)),
        *((instant(n, 1), promoted(n)) for n in (1, 2, 3)),
    )
    once = state(*before, (instant(5), rolled_back(3, 2)))
    assert (once.stable(1).number, once.previous(1).number) == (2, 1)
    twice = state(*before, (instant(5), rolled_back(3, 2)), (instant(6), rolled_back(2, 1)))
    assert twice.stable(1).number == 1
    assert twice.previous(1) is None
    assert [switch.number for switch in twice.stable_switches(1)] == [1, 2, 3, 2, 1]
    after = state(*before, (instant(5), rolled_back(3, 1)), (instant(6), promoted(3)))
    assert (after.stable(1).number, after.previous(1).number) == (3, 1)


def test_a_canary_that_became_stable_is_no_longer_on_trial() -> None:
    trial = ((instant(1), published(1)), (instant(1), promoted(1, "canary")))
    assert state(*trial).canary(1).number == 1
    assert state(*trial).stable(1) is None
    assert state(*trial, (instant(2), promoted(1))).canary(1) is None


def test_frames_do_not_mix() -> None:
    folded = state(
        (instant(1), published(1, frame=1)),
        (instant(1), published(2, frame=2)),
        (instant(2), promoted(1, frame=1)),
        (instant(2), promoted(2, frame=2)),
    )
    assert folded.frames == (1, 2)
    assert (folded.stable(1).number, folded.stable(2).number) == (1, 2)
    assert folded.previous(1) is folded.previous(2) is None


def opened(frame: int, day: int, **changes: object) -> FrameOpened:
    fields: dict = {
        "frame": frame,
        "dim": 6,
        "dtype": "float32",
        "beside": frame - 1,
        "judged_against": "digest-1",
        "day": day_name(day),
        "because": "its vectors have 6 dimensions",
    }
    return FrameOpened(**{**fields, **changes})


BESIDE: list[Timed] = [
    (instant(0), model("old")),
    (instant(1), published(1, model_digest="old")),
    (instant(1, 1), promoted(1)),
    (instant(1, 2), published(2)),
    (instant(1, 3), promoted(2, "canary")),
    (instant(3), opened(2, 2)),
    (instant(3), published(3, 2, frame=2)),
]


def test_the_first_version_opens_the_first_frame() -> None:
    assert (StoreState().current_frame, StoreState().next_frame) == (None, 1)
    folded = state((instant(1), published(1, frame=7)), (instant(2), published(2, frame=7)))
    first = folded.opened[7]
    assert (folded.current_frame, folded.next_frame, folded.served_frame) == (7, 8, None)
    assert (first.day, first.effective_at) == (day_name(0), instant(1))
    assert (first.dim, first.beside, first.is_retired) == (None, None, False)


def test_a_frame_is_current_from_its_opening_on_and_read_from_its_first_promotion_on() -> None:
    assert state(*BESIDE, as_of=instant(2)).current_frame == 1
    folded = state(*BESIDE[:-1])
    assert (folded.current_frame, folded.frames, folded.served_frame) == (2, (1,), 1)
    assert folded.opened[2].because == "its vectors have 6 dimensions"
    served = state(*BESIDE, (instant(3, 1), promoted(3, frame=2)))
    assert (served.frames, served.served_frame) == ((1, 2), 2)
    assert served.stable(1).number == 1


def test_a_retired_frame_has_no_names_and_keeps_what_it_served() -> None:
    folded = state(*BESIDE, (instant(9), FrameRetired(frame=1)))
    assert folded.stable(1) is folded.previous(1) is folded.canary(1) is None
    assert folded.live_versions(1) == ()
    assert (folded.frames, folded.live_frames, folded.current_frame) == ((1, 2), (2,), 2)
    assert [version.number for _, version in folded.served(1)] == [1]
    assert state(*BESIDE, (instant(9), FrameRetired(frame=1)), as_of=instant(8)).stable(1)


def test_the_models_of_a_retired_frame_were_not_rolled_back_from() -> None:
    folded = state(*BESIDE, (instant(9), FrameRetired(frame=1)))
    assert folded.base_of_day(day_name(5)).digest == "old"


def test_a_frame_that_was_never_opened_is_not_retired() -> None:
    with pytest.raises(NoVersionError, match=r"entry 1 retires frame 4.*the log is damaged"):
        state((instant(0), FrameRetired(frame=4)))


def test_a_retired_version_is_nothing_to_roll_back_to() -> None:
    folded = state(
        *((instant(n), published(n, n)) for n in (1, 2, 3)),
        *((instant(n, 1), promoted(n)) for n in (1, 2, 3)),
        (instant(5), VersionRetired(number=2, version="digest-2")),
    )
    assert folded.previous(1).number == 1


def test_an_erasure_changes_the_digest_and_nothing_else() -> None:
    after = {"digest-1": {"digest": "rewritten", "manifest_sha256": "rewritten manifest"}}
    folded = state(
        (instant(1), published(1)),
        (instant(2), promoted(1)),
        (instant(3), VersionsErased(key="k", users=["h"], replacements=after)),
    )
    stable = folded.stable(1)
    assert (stable.number, stable.digest, stable.manifest_sha256) == (
        1,
        "rewritten",
        "rewritten manifest",
    )
    assert stable.published_digest == "digest-1"
    assert folded.is_same("digest-1", stable)
    assert folded.is_same("rewritten", stable)
    assert not folded.is_same(None, stable)


def test_an_erasure_from_an_unpublished_version_is_a_damaged_log() -> None:
    after = {"digest-7": {"digest": "rewritten", "manifest_sha256": "rewritten manifest"}}
    with pytest.raises(NoVersionError, match=r"entry 1 erases from digest-7.*from a copy"):
        state((instant(0), VersionsErased(key="k", users=["h"], replacements=after)))


def test_consumers_are_known_by_name() -> None:
    folded = state((instant(0), ConsumerRegistered(name="ranker", frame=1)))
    assert folded.consumers["ranker"].frame == 1


def test_a_removed_consumer_reads_nothing() -> None:
    registered = (instant(0), ConsumerRegistered(name="ranker", frame=1))
    assert not state(registered, (instant(1), ConsumerRemoved(name="ranker"))).consumers


def test_an_alias_of_an_unpublished_version_is_a_damaged_log() -> None:
    with pytest.raises(NoVersionError, match=r"entry 1 .* names v7"):
        state((instant(0), promoted(7)))


def test_asking_for_an_unknown_version_lists_the_known_ones() -> None:
    with pytest.raises(NoVersionError, match=r"no version v9 .* v1, v2"):
        state((instant(1), published(1)), (instant(1), published(2))).version(9)


def test_an_entry_of_a_newer_release_stops_the_fold_even_if_it_is_not_yet_in_effect() -> None:
    log = CommitLog(MemoryObjects())
    log.append("frame_merged", {}, effective_at=instant(9), by="later", why="later")
    with pytest.raises(UnknownEntryError):
        fold(log.entries(), instant(0))


@st.composite
def histories(draw: st.DrawFn) -> list[Timed]:
    """Logs as the publisher writes them: instants of a frame's switches only grow."""
    bodies: list[Timed] = []
    at, stack = 0, []
    for number in range(1, draw(st.integers(1, 8)) + 1):
        at += draw(st.integers(1, 3))
        bodies.append(
            (instant(at), model(f"model {number}", draw(st.sampled_from(["base", "daily"]))))
        )
        bodies.append((instant(at), published(number, at)))
        if draw(st.booleans()):
            bodies.append((instant(at, 3), opened(number + 1, at)))
            bodies += [(instant(at, 4), FrameRetired(frame=number + 1))] * draw(st.integers(0, 1))
        match draw(st.sampled_from(["promote", "leave", "promote and roll back"])):
            case "promote":
                bodies.append((instant(at, 1), promoted(number)))
                stack.append(number)
            case "promote and roll back" if stack:
                bodies.append((instant(at, 1), promoted(number)))
                bodies.append((instant(at, 2), rolled_back(number, stack[-1])))
    return bodies


@settings(max_examples=40)
@given(histories(), st.integers(0, 30))
def test_the_fold_as_of_an_instant_is_the_fold_of_the_entries_in_effect(
    bodies: list[Timed], day: int
) -> None:
    at = instant(day, 1)
    whole = fold(entries(bodies), at)
    cut = fold(entries(one for one in bodies if one[0] <= at))
    assert whole.seq == len(bodies)
    assert _without_seq(whole) == _without_seq(cut)


@settings(max_examples=40)
@given(histories())
def test_folding_twice_gives_the_same_state(bodies: list[Timed]) -> None:
    log = entries(bodies)
    assert fold(log) == fold(tuple(log)) == fold(iter(log))


@settings(max_examples=40)
@given(histories(), st.integers(0, 30))
def test_what_stable_meant_is_the_last_switch_up_to_then(bodies: list[Timed], day: int) -> None:
    at = instant(day, 1) + timedelta(minutes=30)
    served = [version for since, version in fold(entries(bodies)).served(1) if since <= at]
    stable = fold(entries(bodies), at).stable(1)
    assert (stable and stable.number) == (served[-1].number if served else None)


def _without_seq(folded: StoreState) -> tuple:
    """Everything but sequence numbers, which count entries that are not in effect too."""
    return (
        [(one.digest, one.effective_at) for one in folded.models],
        [(one.number, one.digest, one.is_retired) for one in folded.versions.values()],
        [(one.number, one.alias, one.effective_at) for one in folded.switches],
        folded.stacks,
        folded.canaries,
        folded.opened,
    )


@pytest.mark.parametrize(
    "changed",
    [
        AliasSet(
            alias="stable", frame=1, version="digest-2", number=1, judged_against=None, reason=""
        ),
        VersionRolledBack(frame=1, from_number=2, to_number=1, to_version="digest-2"),
        VersionRetired(number=1, version="digest-2"),
    ],
    ids=["promotion", "rollback", "retirement"],
)
def test_an_entry_whose_number_and_digest_disagree_is_damage(changed: AnyBody) -> None:
    served = [(instant(1), published(1)), (instant(2), published(2)), (instant(2), promoted(1))]
    with pytest.raises(NoVersionError, match=r"not that version's .*: the log is damaged"):
        state(*served, (instant(3), promoted(2)), (instant(4), changed))


def test_an_erasure_is_in_effect_at_every_instant() -> None:
    after = {
        f"digest-{n}": {"digest": f"left-{n}", "manifest_sha256": f"s-{n}", "rows": 1}
        for n in (1, 2)
    }
    entries = (
        (instant(1), published(1)),
        (instant(1, 1), promoted(1)),
        (instant(3), published(2, 2)),
        (instant(50), VersionsErased(key="k", users=["h"], replacements=after)),
    )
    then = state(*entries, as_of=instant(2))
    assert then.stable(1).digest == "left-1"
    assert set(then.versions) == {1}
    assert then.erased_users == {"h"}
    assert state(*entries).current_digest("digest-2") == "left-2"


def test_versions_of_one_digest_are_erased_from_together() -> None:
    again = published(2, digest="digest-1")
    after = {"digest-1": {"digest": "left", "manifest_sha256": "s", "rows": 1}}
    folded = state(
        (instant(1), published(1)),
        (instant(2), VersionRetired(number=1, version="digest-1")),
        (instant(3), again),
        (instant(4), VersionsErased(key="k", users=["h"], replacements=after)),
    )
    assert {version.digest for version in folded.versions.values()} == {"left"}
    assert folded.current_digest("digest-1") == "left"
