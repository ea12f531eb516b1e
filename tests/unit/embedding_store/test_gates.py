import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from embedding_store.errors import CorruptVersionError, PublicationRefusedError, StoreError
from embedding_store.gates import (
    GATE_NAMES,
    Gate,
    GatePolicy,
    GateRecord,
    QualityComparison,
    judge,
    published_record,
    require_passed,
)
from embedding_store.last_week import ConsumerTask
from embedding_store.publisher import Publication
from embedding_store.staging import ActiveUsers, stage
from embedding_store.versions import Version, open_version
from tests.unit.embedding_store.small_world import (
    DIM,
    SmallWorld,
    altered_version,
    drifted,
    quality,
    raw_world,
)

POLICY = GatePolicy(min_item_cosine=0.9, min_neighbour_overlap=0.6, max_quality_loss=0.01)


def candidate(world: SmallWorld, active: list[str] | None = None, **stabilised: object) -> Version:
    """The second day's version, staged on a store that serves the first."""
    if not world.store.state().seq:
        world.serve(0)
    users = ActiveUsers("any token", active or world.raw.user_ids)
    folder = world.stabilised(1, **stabilised)
    return stage(world.store, folder, origin=world.origin(1), active_users=users)


def verdict(
    world: SmallWorld,
    version: Version,
    shown: QualityComparison | None = None,
    policy: GatePolicy = POLICY,
    consumer: ConsumerTask | None = None,
) -> GateRecord:
    digest = version.manifest.reference
    return judge(
        world.store,
        version,
        reference=None if digest is None else open_version(world.store.version_folder(digest)),
        quality=shown or quality(),
        policy=policy,
        consumer=consumer,
    )


def failed(record: GateRecord) -> list[str]:
    return [gate.name for gate in record.failures]


def test_a_good_version_passes_every_gate(world: SmallWorld) -> None:
    record = verdict(world, candidate(world))
    assert {gate.name for gate in record.gates} == set(GATE_NAMES)
    assert record.is_passed
    assert [gate.name for gate in record.gates if gate.figure is None] == ["last_week_consumer"]
    assert require_passed(world.store, record.digest)[0] == record


def test_users_without_a_vector_fail_the_coverage(world: SmallWorld) -> None:
    active = [*world.raw.user_ids, "stranger"]
    record = verdict(world, candidate(world, active))
    assert failed(record) == ["coverage"]
    assert record.failures[0].figure == pytest.approx(60 / 61)
    assert "60 of 61" in record.failures[0].note


@pytest.mark.parametrize(("missing", "is_passed"), [(1, True), (2, False)])
def test_of_ten_thousand_active_users_one_may_lack_a_vector(
    world: SmallWorld, missing: int, *, is_passed: bool
) -> None:
    version = candidate(world)
    coverage = replace(version.manifest.coverage, required=10_000, covered=10_000 - missing)
    thin = replace(version, manifest=replace(version.manifest, coverage=coverage))
    record = verdict(world, thin, policy=GatePolicy())
    (gate,) = (one for one in record.gates if one.name == "coverage")
    assert (gate.threshold, gate.is_passed) == (0.9999, is_passed)


def test_another_world_fails_the_similarity(world: SmallWorld) -> None:
    record = verdict(world, candidate(world, raw=raw_world(seed=99)))
    assert failed(record) == ["item_similarity", "neighbour_overlap", "version_skew"]


TURN = np.linalg.qr(np.random.default_rng(5).normal(size=(DIM, DIM)))[0]
SHUFFLED = [*range(0, DIM, 2), *np.roll(range(1, DIM, 2), 1)]


@pytest.mark.parametrize(
    ("change", "want"),
    [
        (lambda one: 3 * one, {"norm_drift", "covariance_drift"}),
        (lambda one: one @ TURN, {"item_similarity", "version_skew"}),
        (lambda one: one[:, SHUFFLED], {"item_similarity", "version_skew"}),
    ],
    ids=["three times as long", "not stabilised", "half of the coordinates shuffled"],
)
def test_vectors_that_left_the_frame_fail_the_drift_or_the_skew(
    world: SmallWorld, change: Callable[[np.ndarray], np.ndarray], want: set[str]
) -> None:
    """Scores of such a version are what they were, or three times that: no model is worse."""
    world = SmallWorld(world.folder, raw=raw_world(num_items=400))
    world._serve((0, 1))
    world.stabilised(2)
    version = altered_version(world, world.folder, change)
    assert want <= set(failed(verdict(world, version)))


def test_a_drift_record_names_what_moved(world: SmallWorld) -> None:
    world.serve(0, 1)
    version = altered_version(world, world.folder, lambda one: 3 * one, sides=("user",))
    notes = {gate.name: gate.note for gate in verdict(world, version).gates}
    assert re.match(r"ratio of mean norms 3\.\d+ of users, 1\.\d+ of items", notes["norm_drift"])
    assert "second moments 8." in notes["covariance_drift"]


def test_a_model_of_another_dim_opens_a_frame_beside(world: SmallWorld) -> None:
    """Its gates have no reference; what frame 1 serves stays."""
    world.serve(0, 1)
    wider = SmallWorld(world.folder, raw=raw_world(dim=12), frame=2, bucket=world.bucket)
    version = wider.publish(2, stabilised=wider.stabilised(2, name="-wider")).version
    wider.promote(Publication(version, is_existing=False))
    state = world.store.state()
    stable = {frame: state.stable(frame) for frame in state.frames}
    assert [one.day for one in stable.values() if one] == ["2024-03-02", "2024-03-03"]
    gates = published_record(world.store, version).gates
    assert {gate.note for gate in gates if gate.name in {"norm_drift", "version_skew"}} == {
        "opens frame 2: nothing to be similar to"
    }


def test_no_common_item_is_another_frame(world: SmallWorld) -> None:
    world.serve(0)
    raw = drifted(world.raw, seed=1)
    renamed = replace(raw, item_ids=[f"x-{one}" for one in raw.item_ids])
    record = verdict(world, world.staged(1, raw=renamed, name="renamed"))
    assert {"item_similarity", "neighbour_overlap", "version_skew"} <= set(failed(record))


def crowd(folder: Path) -> tuple[SmallWorld, ConsumerTask]:
    """A world that serves two days, and a task that its vectors of the first day can learn."""
    world = SmallWorld(folder, raw=raw_world(num_users=400))
    world._serve((0, 1))
    scores = world.raw.users @ world.raw.items[:4].T
    return world, ConsumerTask(
        definition="which items a user likes",
        trained_on=world.opened(0).digest,
        user_ids=world.raw.user_ids,
        answers=scores > np.median(scores, axis=0),
    )


def of_consumer(record: GateRecord) -> Gate:
    return next(gate for gate in record.gates if gate.name == "last_week_consumer")


def test_a_consumer_of_an_older_version_reads_a_version_of_the_frame(tmp_path: Path) -> None:
    world, task = crowd(tmp_path)
    gate = of_consumer(verdict(world, world.staged(2), consumer=task))
    assert gate.is_passed
    assert gate.figure == pytest.approx(1, abs=0.02)
    assert gate.note.startswith("mean AUC 0.9")


def test_a_consumer_that_reads_other_coordinates_stops_the_version(tmp_path: Path) -> None:
    world, task = crowd(tmp_path)
    version = altered_version(world, tmp_path, lambda one: one @ TURN)
    published = partial(world.publish, 2, stabilised=tmp_path / "altered")
    with pytest.raises(PublicationRefusedError, match=r"last_week_consumer -?0\."):
        published(evidence=world.evidence(consumer=task))
    record = require_record(world, version)
    assert not of_consumer(record).is_passed


def require_record(world: SmallWorld, version: Version) -> GateRecord:
    return GateRecord.from_bytes(world.store.objects.get(world.gate_key(version.digest)))


def test_another_task_is_other_evidence(tmp_path: Path) -> None:
    world, task = crowd(tmp_path)
    version = world.staged(2)
    records = [verdict(world, version, consumer=one) for one in (None, task)]
    assert [of_consumer(one).figure is None for one in records] == [True, False]
    assert records[0].evidence != records[1].evidence


def test_a_damaged_file_fails_the_vectors(world: SmallWorld) -> None:
    version = candidate(world)
    path = version.folder / "user/part-1.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    found = {gate.name: gate for gate in verdict(world, version).failures}
    assert {"valid_vectors", "item_similarity", "version_skew"} <= set(found)
    assert found["version_skew"].note == "not measured: the vectors are not valid"


@pytest.mark.parametrize(
    ("lower", "want"),
    [(-0.0099, []), (-0.0101, ["model_quality"]), (math.nan, ["model_quality"])],
)
def test_quality_passes_while_the_whole_interval_is_above_the_allowed_loss(
    world: SmallWorld, lower: float, want: list[str]
) -> None:
    record = verdict(world, candidate(world), replace(quality(), lower=lower))
    assert failed(record) == want
    assert record.is_passed is not bool(want)


def test_only_the_first_version_of_a_store_needs_no_champion(world: SmallWorld) -> None:
    def judged(version: Version, reference: Version | None) -> GateRecord:
        return judge(world.store, version, reference=reference, quality=None, policy=POLICY)

    users = ActiveUsers("any token", world.raw.user_ids)
    first = stage(world.store, world.stabilised(0), origin=world.origin(0), active_users=users)
    assert judged(first, None).is_passed
    world.serve(0)
    assert failed(judged(candidate(world), first)) == ["model_quality"]
    other_frame = SmallWorld(world.folder / "other", frame=2).stabilised(5)
    opening = stage(world.store, other_frame, origin=world.origin(5), active_users=users)
    assert failed(judged(opening, None)) == ["model_quality"]


def test_a_gate_that_failed_keeps_failing_whatever_figure_is_shown_next(world: SmallWorld) -> None:
    version = candidate(world)
    first = verdict(world, version, quality(lower=-0.5))
    key = world.gate_key(version.digest)
    written = world.store.objects.get(key)
    second = verdict(SmallWorld(world.folder), version, quality(lower=0.5))
    assert second == first
    assert not second.is_passed
    assert world.store.objects.get(key) == written
    with pytest.raises(PublicationRefusedError, match=r"model_quality -0\.5"):
        require_passed(world.store, version.digest)


def test_other_evidence_is_judged_beside_the_older_record(world: SmallWorld) -> None:
    version = candidate(world)
    first = verdict(world, version, quality(lower=-0.5, evidence="one"))
    other = verdict(world, version, quality(lower=0.0, evidence="other"))
    assert (first.is_passed, other.is_passed) == (False, True)
    assert require_passed(world.store, version.digest, other.evidence)[0] == other
    with pytest.raises(PublicationRefusedError):
        require_passed(world.store, version.digest, first.evidence)
    files = [key for key in world.store.objects.list("gates") if version.digest in key]
    assert files == [world.gate_key(version.digest, 2), world.gate_key(version.digest)]
    assert verdict(world, version, quality(lower=9.0, evidence="one")) == first


def test_a_stricter_policy_is_other_evidence(world: SmallWorld) -> None:
    version = candidate(world)
    assert verdict(world, version).is_passed
    strict = replace(POLICY, min_item_cosine=0.99999)
    assert failed(verdict(world, version, policy=strict)) == ["item_similarity"]


def test_no_record_is_a_refusal(world: SmallWorld) -> None:
    version = candidate(world)
    with pytest.raises(PublicationRefusedError, match="has no gate record"):
        require_passed(world.store, version.digest)


def test_a_record_about_another_version_is_a_refusal(world: SmallWorld) -> None:
    version = candidate(world)
    record = verdict(world, version)
    world.store.objects.put(world.gate_key("0" * 64), record.to_bytes())
    with pytest.raises(PublicationRefusedError, match=f"is about {version.digest[:12]}"):
        require_passed(world.store, "0" * 64)


def test_a_record_without_one_of_the_gates_is_a_refusal(world: SmallWorld) -> None:
    version = candidate(world)
    record = verdict(world, version)
    short = replace(record, gates=record.gates[:-1])
    world.store.objects.put(world.gate_key(version.digest), short.to_bytes())
    with pytest.raises(PublicationRefusedError, match="model_quality was not judged"):
        require_passed(world.store, version.digest)


@pytest.mark.parametrize(
    "damage",
    [b"{", b"[]", b"\xff", b'{"format_version": 1}', b'{"digest": "x"}'],
    ids=["half", "no object", "no text", "without gates", "without format"],
)
def test_a_damaged_record_is_a_refusal_that_names_the_file(
    world: SmallWorld, damage: bytes
) -> None:
    version = candidate(world)
    verdict(world, version)
    key = world.gate_key(version.digest)
    world.store.objects.put(key, damage)
    want = (
        f"{world.store.url}/{key}: want a gate record in JSON, got {len(damage)} bytes.*restore it"
    )
    with pytest.raises(CorruptVersionError, match=want):
        require_passed(world.store, version.digest)


def test_the_record_of_a_published_version_is_found_beside_a_damaged_one(
    world: SmallWorld,
) -> None:
    version = candidate(world)
    verdict(world, version, quality(lower=-0.5, evidence="one"))
    published = world.publish(1, evidence=world.evidence(policy=POLICY)).version
    key = world.gate_key(version.digest)
    world.store.objects.put(key, b"{")
    assert published_record(world.store, published).is_passed
    world.store.objects.put(world.gate_key(version.digest, 2), b"{")
    with pytest.raises(PublicationRefusedError, match=f"{published.gate_sha256}.*{key}.*got 2 of"):
        published_record(world.store, published)


def test_a_later_format_asks_for_an_upgrade(world: SmallWorld) -> None:
    data = json.loads(verdict(world, candidate(world)).to_bytes())
    with pytest.raises(StoreError, match="upgrade"):
        GateRecord.from_bytes(json.dumps({**data, "format_version": 3}).encode())


FIRST_GATES = {
    "coverage",
    "valid_vectors",
    "item_similarity",
    "neighbour_overlap",
    "model_quality",
}


def released(record: GateRecord, **changes: object) -> bytes:
    """The record as the first release wrote it."""
    fields = json.loads(record.to_bytes())
    fields["gates"] = [one for one in fields["gates"] if one["name"] in FIRST_GATES]
    known = ("min_coverage", "min_item_cosine", "min_neighbour_overlap", "max_quality_loss")
    fields["policy"] = {name: fields["policy"][name] for name in known}
    return json.dumps({**fields, "format_version": 1, **changes}).encode()


def test_a_record_of_an_earlier_release_holds_what_was_judged_then(world: SmallWorld) -> None:
    written = released(verdict(world, candidate(world)))
    record = GateRecord.from_bytes(written)
    assert {gate.name for gate in record.gates} == FIRST_GATES
    assert record.is_passed
    short = json.loads(written)["gates"][1:]
    assert GateRecord.from_bytes(released(record, gates=short)).missing == ("coverage",)


def test_a_new_record_needs_the_gates_of_now(world: SmallWorld) -> None:
    record = verdict(world, candidate(world))
    old = GateRecord.from_bytes(released(record))
    assert "version_skew" in replace(old, format_version=record.format_version).missing


def test_a_record_reads_back_equal(world: SmallWorld) -> None:
    record = verdict(world, candidate(world, raw=drifted(world.raw, seed=4)))
    assert GateRecord.from_bytes(record.to_bytes()) == record


def test_judging_the_same_again_writes_the_same_bytes(world: SmallWorld, tmp_path: Path) -> None:
    version = candidate(world)
    verdict(world, version)
    key = world.gate_key(version.digest)
    once = world.store.objects.get(key)
    world.store.objects.delete(key)
    verdict(world, version)
    assert world.store.objects.get(key) == once
