from dataclasses import replace
from datetime import timedelta

import pytest

from embedding_store.consumers import ConsumerNeeds, broken_promises, require_promises_kept
from embedding_store.errors import ContractError, PublicationRefusedError
from embedding_store.manifest import Coverage
from embedding_store.publisher import Publisher
from tests.unit.embedding_store.small_world import SmallWorld, instant

FILE = {
    "format_version": 1,
    "team": "home-page",
    "service": "ranker",
    "frame": 1,
    "dim": 8,
    "freshness_h": 24,
    "coverage": 0.99,
}
NEEDS = ConsumerNeeds.of(FILE, source="file")


def test_a_file_says_who_needs_what() -> None:
    assert (NEEDS.name, NEEDS.frame, NEEDS.dim) == ("home-page/ranker", 1, 8)
    assert (NEEDS.freshness_h, NEEDS.coverage) == (24, 0.99)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("team", ""),
        ("team", "Home page"),
        ("team", "../x"),
        ("service", 7),
        ("frame", 0),
        ("frame", True),
        ("frame", "1"),
        ("dim", 8.0),
        ("freshness_h", 0),
        ("freshness_h", float("nan")),
        ("freshness_h", float("inf")),
        ("freshness_h", None),
        ("coverage", 1.01),
        ("coverage", 0),
        ("coverage", True),
        ("format_version", 2),
    ],
)
def test_an_odd_value_is_refused_by_file_and_key(key: str, value: object) -> None:
    with pytest.raises(ContractError, match=rf"^one\.yaml: {key}: want .*, got"):
        ConsumerNeeds.of({**FILE, key: value}, source="one.yaml")


def test_an_unknown_and_a_missing_key_are_refused() -> None:
    with pytest.raises(ContractError, match=r"^one\.yaml: unknown key 'fresh'"):
        ConsumerNeeds.of({**FILE, "fresh": 3}, source="one.yaml")
    missing = {key: value for key, value in FILE.items() if key != "dim"}
    with pytest.raises(ContractError, match=r"^one\.yaml: dim is missing"):
        ConsumerNeeds.of(missing, source="one.yaml")
    with pytest.raises(ContractError, match=r"^one\.yaml: want keys and values, got"):
        ConsumerNeeds.of(["team"], source="one.yaml")


def test_what_is_broken_is_said_in_figures(served_world: SmallWorld) -> None:
    stable = served_world.store.state().stable(1)
    manifest = served_world.store.open(stable).manifest
    kept_until = instant(3) + timedelta(hours=24)
    assert broken_promises(NEEDS, manifest, serves_at=kept_until) == []
    late = kept_until + timedelta(hours=1)
    assert broken_promises(NEEDS, manifest, serves_at=None) == []
    assert broken_promises(NEEDS, manifest, serves_at=late) == [
        "wants data of the last 24 h, its is 25.0 h old"
    ]
    thin = replace(manifest, coverage=Coverage(definition="any", required=100, covered=90))
    assert broken_promises(replace(NEEDS, dim=16), thin, serves_at=kept_until) == [
        "wants 16 dimensions, it has 8",
        "wants 99.0% of the active users, it has 90.0%",
    ]


def test_only_consumers_of_the_frame_are_asked(served_world: SmallWorld) -> None:
    stable = served_world.store.state().stable(1)
    manifest = served_world.store.open(stable).manifest
    other = replace(NEEDS, frame=2, dim=16)
    require_promises_kept([NEEDS, other], stable, manifest, serves_at=instant(3))
    with pytest.raises(PublicationRefusedError, match="home-page/ranker wants 16 dimensions"):
        require_promises_kept([replace(other, frame=1)], stable, manifest, serves_at=instant(3))


@pytest.mark.parametrize("alias", ["canary", "stable"])
def test_a_version_that_breaks_a_promise_gets_no_name(world: SmallWorld, alias: str) -> None:
    world.serve(0)
    late = world.publish(1)
    publisher = Publisher(world.store, by="test", consumers=[replace(NEEDS, freshness_h=1)])
    fields = {
        "judged_against": late.version.judged_against,
        "effective_at": instant(2, 2),
        "why": "gates passed",
    }
    with pytest.raises(PublicationRefusedError, match=r"v2 breaks .* home-page/ranker wants data"):
        publisher.promote(alias, 2, **fields)
    state = world.store.state()
    assert (state.stable(1).number, state.canary(1)) == (1, None)

    publisher.promote(alias, 2, **{**fields, "effective_at": instant(2, 1)})
    assert world.store.state().switches[-1].number == 2


def test_a_rollback_asks_nobody(world: SmallWorld) -> None:
    world.serve(0, 1)
    publisher = Publisher(world.store, by="test", consumers=[replace(NEEDS, dim=16)])
    publisher.rollback(1, effective_at=instant(5), why="an incident")
    assert world.store.state().stable(1).number == 1
