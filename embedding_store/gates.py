"""Gates: what a version must prove before anybody may read it, and the durable record of it.

::

    gates/<digest>.json      the first record of a version
    gates/<digest>.2.json    a later one, from other evidence; records are never rewritten

A record is bound to the content digest and to its evidence (reference version, evaluation, policy).
The same evidence is judged once: a gate that failed keeps holding in every later run.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

from embedding_store.comparison import Figure, measure
from embedding_store.errors import (
    ContractError,
    CorruptVersionError,
    PublicationRefusedError,
    UnknownEntryError,
)
from embedding_store.last_week import ConsumerTask, told, transfer
from embedding_store.state import PublishedVersion
from embedding_store.store import EmbeddingStore
from embedding_store.versions import Version, open_version
from lake.digests import digest_bytes, digest_json
from lake.errors import MissingArtifactError
from lake.sealed import json_object

logger = logging.getLogger(__name__)

FORMAT_VERSION = 2
_FIRST_GATES = (
    "coverage",
    "valid_vectors",
    "item_similarity",
    "neighbour_overlap",
    "model_quality",
)
GATE_NAMES = (
    *_FIRST_GATES,
    "norm_drift",
    "covariance_drift",
    "version_skew",
    "last_week_consumer",
)
"""Each figure is a floor: of a drift or a skew, what is kept in spite of it."""
_GATES_OF_FORMAT: Mapping[int, tuple[str, ...]] = {1: _FIRST_GATES, 2: GATE_NAMES}
"""What a record had to hold when it was written; it keeps passing on that."""
_UNREADABLE = "not measured: the vectors are not valid"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """What a version must reach."""

    min_coverage: float = 0.9999
    """Share of the active users that have a vector."""
    min_item_cosine: float = 0.7
    """Mean cosine of probe items to the reference version: below, it is another frame."""
    min_neighbour_overlap: float = 0.3
    """Share of ten neighbours that a consumer trained on the reference version still finds."""
    min_norm_agreement: float = 0.7
    """Mean norm of users, and of items, relative to the reference version's, or its inverse."""
    min_covariance_agreement: float = 0.3
    """One minus the relative distance of the second moments."""
    min_skew_overlap: float = 0.4
    """Share of ten items that somebody who mixes two versions sees of a list of one version."""
    min_consumer_share: float = 0.8
    """Share of its advantage over chance that a consumer keeps which learned from the vectors of a
    week ago, relative to one that learned from these."""
    max_quality_loss: float = 0.01
    """How much worse than the champion the model may be, in the units of the comparison: a share
    of the champion's value in the platform's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityComparison:
    """The candidate model against the champion, paired over the same users."""

    metric: str
    """With its cut, candidates and mean: ``ndcg_at_10, full catalogue, mean over users``."""
    difference: float
    """Candidate minus champion; higher is better."""
    lower: float
    upper: float
    """Bounds of its interval."""
    num_users: int
    evidence: str
    """Digest of the evaluation that says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One verdict; ``is_passed`` means that ``figure`` reaches ``threshold``."""

    name: str
    figure: float | None
    threshold: float | None
    is_passed: bool
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRecord:
    """All verdicts on one version."""

    digest: str
    evidence: str
    gates: tuple[Gate, ...]
    policy: GatePolicy
    format_version: int = FORMAT_VERSION
    """That of the release which judged: a gate that it did not know is not missing."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The gates that must be there and are not."""
        names = {gate.name for gate in self.gates}
        return tuple(one for one in _GATES_OF_FORMAT[self.format_version] if one not in names)

    @property
    def is_passed(self) -> bool:
        """Whether every gate that must be there is there and passed."""
        return not self.missing and all(gate.is_passed for gate in self.gates)

    @property
    def failures(self) -> tuple[Gate, ...]:
        """The gates that did not pass."""
        return tuple(gate for gate in self.gates if not gate.is_passed)

    def to_bytes(self) -> bytes:
        """Return the file's bytes."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = "gate record") -> "GateRecord":
        """Read what ``to_bytes`` wrote, called ``name`` in errors.

        Raises CorruptVersionError, or UnknownEntryError for another format.
        """
        try:
            fields: dict[str, Any] = json_object(data)
            version = fields["format_version"]
            if version not in _GATES_OF_FORMAT:
                raise UnknownEntryError(
                    f"{name}: this release reads formats through {FORMAT_VERSION}, got "
                    f"{version!r}: upgrade"
                )
            gates = tuple(Gate(**gate) for gate in fields["gates"])
            return cls(**{**fields, "gates": gates, "policy": GatePolicy(**fields["policy"])})
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptVersionError(
                f"{name}: want a gate record in JSON, got {len(data)} bytes that are none "
                f"({error}): restore it from a copy"
            ) from error


def evidence_of(
    version: Version,
    quality: QualityComparison | None,
    policy: GatePolicy,
    consumer: ConsumerTask | None = None,
) -> str:
    """Return the digest of what a verdict rests on, the figures themselves left out.

    So another figure for the same evaluation cannot buy another verdict.
    """
    return digest_json(
        {
            "version": version.digest,
            "reference": version.manifest.reference,
            "evaluation": None if quality is None else quality.evidence,
            "consumer": None if consumer is None else consumer.evidence,
            "policy": asdict(policy),
        }
    )


def judge(
    store: EmbeddingStore,
    version: Version,
    *,
    reference: Version | None,
    quality: QualityComparison | None,
    policy: GatePolicy,
    consumer: ConsumerTask | None = None,
) -> GateRecord:
    """Return the durable record for this evidence, judging only where there is none yet.

    Failing is no error here: the record says so, and ``require_passed`` refuses.
    """
    evidence = evidence_of(version, quality, policy, consumer)
    while True:
        held = list(_records(store, version.digest))
        for record, _ in held:
            if record.evidence == evidence:
                return record
        valid = _valid_vectors(version)
        record = GateRecord(
            digest=version.digest,
            evidence=evidence,
            gates=(
                _coverage(version, policy),
                valid,
                *_against_reference(version, reference, policy, is_readable=valid.is_passed),
                _last_week_consumer(store, version, consumer, policy, is_readable=valid.is_passed),
                _quality(quality, policy, is_first=not store.state().versions),
            ),
            policy=policy,
        )
        if store.objects.put_if_absent(_key(version.digest, len(held) + 1), record.to_bytes()):
            logger.info("step gates-recorded: %s", version.digest)
            return record


def require_passed(
    store: EmbeddingStore, digest: str, evidence: str | None = None
) -> tuple[GateRecord, str]:
    """Return the stored record and its sha256, re-read; raises PublicationRefusedError.

    ``evidence`` picks the record that rests on it; without, the newest one.
    """
    found = [
        (record, sha256)
        for record, sha256 in _records(store, digest)
        if evidence is None or record.evidence == evidence
    ]
    if not found:
        raise PublicationRefusedError(
            f"version {digest[:12]} has no gate record: judge it before it is published"
        )
    record, sha256 = found[-1]
    if record.digest != digest:
        raise PublicationRefusedError(
            f"the gate record of version {digest[:12]} is about {record.digest[:12]}"
        )
    if not record.is_passed:
        raise PublicationRefusedError(
            f"version {digest[:12]} failed: {_sentence(record)}. What was published stays as it is"
        )
    return record, sha256


def published_record(store: EmbeddingStore, version: PublishedVersion) -> GateRecord:
    """Return the record that the version was published with; raises PublicationRefusedError."""
    held = [data for _, data in _stored(store, version.published_digest)]
    for data in held:
        if digest_bytes(data) == version.gate_sha256:
            return GateRecord.from_bytes(data)
    raise PublicationRefusedError(
        f"the gate record that {version.name} was published with is gone or changed: want a file "
        f"with sha256 {version.gate_sha256} among {store.url}/{_key(version.published_digest, 1)} "
        f"and those beside it, got {len(held)} of others: restore it from a copy"
    )


def _sentence(record: GateRecord) -> str:
    said = [
        f"{gate.name} {'none' if gate.figure is None else f'{gate.figure:.4g}'}, "
        f"want at least {gate.threshold:.4g} ({gate.note})"
        if gate.threshold is not None
        else f"{gate.name} ({gate.note})"
        for gate in record.failures
    ]
    return "; ".join([*said, *(f"{name} was not judged" for name in record.missing)])


def _key(digest: str, slot: int) -> str:
    return f"gates/{digest}.json" if slot == 1 else f"gates/{digest}.{slot}.json"


def _records(store: EmbeddingStore, digest: str) -> Iterator[tuple[GateRecord, str]]:
    for key, data in _stored(store, digest):
        yield GateRecord.from_bytes(data, name=f"{store.url}/{key}"), digest_bytes(data)


def _stored(store: EmbeddingStore, digest: str) -> Iterator[tuple[str, bytes]]:
    """Yield key and bytes of every record of a version, in the order they were made."""
    for slot in count(1):
        key = _key(digest, slot)
        try:
            data = store.objects.get(key)
        except MissingArtifactError:
            return
        yield key, data


def _coverage(version: Version, policy: GatePolicy) -> Gate:
    coverage = version.manifest.coverage
    return Gate(
        name="coverage",
        figure=coverage.share,
        threshold=policy.min_coverage,
        is_passed=coverage.share >= policy.min_coverage,
        note=f"{coverage.covered} of {coverage.required} users with {coverage.definition}",
    )


def _valid_vectors(version: Version) -> Gate:
    """Read every committed file back: checksums, and all rules of the contract."""
    rows = 0
    note = "finite, not zero, unique, checksums as in the manifest"
    try:
        users = version.manifest.parts("user")
        for number, record in enumerate(users):
            shard = version.shard(record, "user")
            shard.check_bucket(number, len(users))
            rows += shard.table.num_rows
        rows += version.items.table.num_rows
    except (ContractError, CorruptVersionError) as error:
        return Gate(
            name="valid_vectors", figure=0.0, threshold=1.0, is_passed=False, note=str(error)
        )
    return Gate(
        name="valid_vectors",
        figure=1.0,
        threshold=1.0,
        is_passed=True,
        note=f"{rows} vectors: {note}{_encoding(version)}",
    )


def _encoding(version: Version) -> str:
    """Return what staging measured of the encoding; nothing of float32, as it always was."""
    manifest = version.manifest
    if manifest.score_error is None:
        return ""
    return (
        f"; stored as {manifest.dtype}, which changes scores by at most {manifest.score_error:.1e} "
        f"of the largest one of a probe"
    )


def _against_reference(
    version: Version, reference: Version | None, policy: GatePolicy, *, is_readable: bool
) -> Iterator[Gate]:
    thresholds = {
        "item_similarity": policy.min_item_cosine,
        "neighbour_overlap": policy.min_neighbour_overlap,
        "norm_drift": policy.min_norm_agreement,
        "covariance_drift": policy.min_covariance_agreement,
        "version_skew": policy.min_skew_overlap,
    }
    if reference is None:
        note = f"opens frame {version.manifest.frame}: nothing to be similar to"
        for name in thresholds:
            yield Gate(name=name, figure=None, threshold=None, is_passed=True, note=note)
        return
    unread = dict.fromkeys(thresholds, Figure(None, _UNREADABLE))
    figures = measure(version, reference) if is_readable else unread
    for name, threshold in thresholds.items():
        figure = figures[name].value
        yield Gate(
            name=name,
            figure=figure,
            threshold=threshold,
            is_passed=figure is not None and figure >= threshold,
            note=figures[name].note,
        )


def _last_week_consumer(
    store: EmbeddingStore,
    version: Version,
    task: ConsumerTask | None,
    policy: GatePolicy,
    *,
    is_readable: bool,
) -> Gate:
    """Passed without a figure where nobody learned from an older version, or could have."""
    figure, note = None, "no version of an earlier day in this frame to learn from"
    if task is not None and is_readable:
        older = open_version(store.version_folder(task.trained_on))
        found = transfer(version, older, task)
        figure, note = None if found is None else found.share_kept, told(task, found)
    return Gate(
        name="last_week_consumer",
        figure=figure,
        threshold=None if figure is None else policy.min_consumer_share,
        is_passed=is_readable and (figure is None or figure >= policy.min_consumer_share),
        note=note if is_readable else _UNREADABLE,
    )


def _quality(quality: QualityComparison | None, policy: GatePolicy, *, is_first: bool) -> Gate:
    """Not worse: the whole interval of the difference lies above minus the allowed loss."""
    if quality is None:
        return Gate(
            name="model_quality",
            figure=None,
            threshold=None,
            is_passed=is_first,
            note="the store's first version: no champion"
            if is_first
            else "no comparison with the champion",
        )
    return Gate(
        name="model_quality",
        figure=quality.lower,
        threshold=-policy.max_quality_loss,
        is_passed=quality.lower >= -policy.max_quality_loss,
        note=(
            f"lower bound of the difference to the champion {quality.difference:+.4f} "
            f"[{quality.lower:+.4f}, {quality.upper:+.4f}] in {quality.metric}, "
            f"{quality.num_users} users"
        ),
    )
