import pytest

from embedding_store.entries import (
    KINDS,
    AliasSet,
    AnyBody,
    CanaryWithdrawn,
    ConsumerRegistered,
    ConsumerRemoved,
    FrameOpened,
    FrameRetired,
    ModelAccepted,
    VersionArchived,
    VersionPublished,
    VersionRetired,
    VersionRolledBack,
    VersionsErased,
    parse,
    to_body,
)
from embedding_store.errors import UnknownEntryError
from lake.log import CommitLog, Entry
from lake.objects import MemoryObjects
from tests.unit.embedding_store.small_world import instant

BODIES: list[AnyBody] = [
    ModelAccepted(
        partition="2024-02-01",
        role="base",
        digest="d",
        uri="artifacts/x",
        logical_id="l",
        metrics={"ndcg_at_10": 0.5},
    ),
    VersionPublished(
        digest="d",
        number=1,
        frame=1,
        day="2024-03-01",
        as_of="2024-03-02T00:00:00+00:00",
        logical_id="l",
        model_digest="m",
        judged_against=None,
        manifest_sha256="s",
        gate_sha256="g",
    ),
    AliasSet(alias="stable", frame=1, version="d", number=1, judged_against=None, reason="why"),
    VersionRolledBack(frame=1, from_number=2, to_number=1, to_version="d"),
    CanaryWithdrawn(frame=1, number=1, version="d", because="home-page/ranker wants more"),
    VersionArchived(number=1, version="d"),
    VersionRetired(number=1, version="d"),
    FrameOpened(
        frame=2,
        dim=64,
        dtype="float32",
        beside=1,
        judged_against="d",
        day="2024-03-01",
        because="its vectors have 64 dimensions, frame 1 has 32",
    ),
    FrameRetired(frame=1),
    ConsumerRegistered(name="ranker", frame=1, contact="team"),
    ConsumerRemoved(name="ranker"),
    VersionsErased(
        key="k",
        users=["h"],
        replacements={"d": {"digest": "e", "manifest_sha256": "s", "rows": 1}},
    ),
]


def logged(kind: str, body: dict) -> Entry:
    log = CommitLog(MemoryObjects())
    log.append(kind, body, effective_at=instant(0), by="test", why="test")
    return log.entries()[0]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.kind)
def test_what_is_logged_is_what_is_read(body: AnyBody) -> None:
    log = CommitLog(objects := MemoryObjects())
    log.append(body.kind, to_body(body), effective_at=instant(0), by="test", why="test")
    assert parse(CommitLog(objects).entries()[0]) == body


def test_every_kind_is_covered_above() -> None:
    assert {body.kind for body in BODIES} == set(KINDS)


def test_an_unknown_kind_asks_for_an_upgrade() -> None:
    with pytest.raises(UnknownEntryError, match=r"'frame_merged'.*upgrade"):
        parse(logged("frame_merged", {}))


@pytest.mark.parametrize("change", [{"more": 1}, {"number": None}], ids=["unknown", "missing"])
def test_other_fields_ask_for_an_upgrade(change: dict) -> None:
    body = {"number": 1, "version": "d", **change}
    with pytest.raises(UnknownEntryError, match="upgrade"):
        parse(logged("version_retired", {k: v for k, v in body.items() if v is not None}))


@pytest.mark.parametrize(
    ("body", "change"),
    [
        (BODIES[1], {"number": "1"}),
        (BODIES[1], {"judged_against": 7}),
        (BODIES[2], {"alias": "stabme"}),
        (BODIES[2], {"version": ["d"]}),
        (BODIES[-1], {"users": "h"}),
        (BODIES[-1], {"replacements": {"d": 7}}),
    ],
)
def test_a_field_of_another_type_is_named(body: AnyBody, change: dict) -> None:
    (name,) = change
    with pytest.raises(UnknownEntryError, match=f"{name} is not of the type"):
        parse(logged(body.kind, {**to_body(body), **change}))
