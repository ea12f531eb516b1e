"""The lake: artifacts by asset and partition, built once for equal inputs, parameters and code.

::

    refs/<asset>/<partition>.json             the current ArtifactRef
    replaced/<asset>/<partition>/<work>.json  those that were current before it
    artifacts/<asset>/<partition>/<digest>/   its files, immutable
    locks/<asset>/<partition>.lock            held by the process that builds the partition
    tombstones/<request>.json                 who was erased
    erasures/{requested,open,certificates}/   what was asked, is being rewritten, was rewritten
    tmp/                                      unfinished work; nothing reads it

Processes share a lake without further ado: references and folders appear whole, and of those that
want one partition at the same time one builds and the others wait for it.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from lake.atomic import sweep_temporaries
from lake.digests import digest_folder, digest_json
from lake.errors import CorruptArtifactError, LakeError, MissingArtifactError
from lake.lock import exclusive_lock
from lake.objects import get_all
from lake.refs import ArtifactRef
from lake.storage import open_storage
from lake.tombstones import Tombstones

_OF_HISTORY = (
    "(history, such as an accepted model, a published day or a vocabulary, is taken back only if "
    "it comes out equal)"
)


@dataclass(frozen=True, slots=True)
class Written:
    """What a step reports about the files it wrote."""

    rows: int
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One unit of work: everything that its logical id covers."""

    asset: str
    partition: str
    schema_id: str
    as_of: str
    code: str
    inputs: Sequence[ArtifactRef] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def logical_id(self) -> str:
        """Digest of asset, partition, layout, inputs, parameters and code."""
        return digest_json(
            {
                "asset": self.asset,
                "partition": self.partition,
                "schema_id": self.schema_id,
                "as_of": self.as_of,
                "code": self.code,
                "inputs": [ref.logical_id for ref in self.inputs],
                "parameters": self.parameters,
            }
        )


@dataclass(frozen=True, slots=True)
class Built:
    """The artifact of a step, and whether it was already there."""

    ref: ArtifactRef
    is_skipped: bool
    is_superseded: bool = False
    """The artifact is history, kept although its inputs, parameters or code are others by now."""


class Lake:
    """Artifacts of one place: below a folder, or in the bucket that the folder names."""

    def __init__(self, root: Path, *, erasure_key: str = "") -> None:
        """Open the lake of the folder ``root``; it is made on the first build.

        ``erasure_key`` is the secret of its tombstones; another one than theirs is refused when
        they are asked.
        """
        self.root = root
        self.storage = open_storage(root)
        self._tombstones = Tombstones(self.storage.objects, erasure_key)

    def find(self, asset: str, partition: str) -> ArtifactRef | None:
        """Return the current reference, or None where the partition was never built.

        Raises CorruptArtifactError, naming the file.
        """
        try:
            return self._read_ref(_ref_key(asset, partition))
        except MissingArtifactError:
            return None

    def require(self, asset: str, partition: str) -> ArtifactRef:
        """Return the current reference; raises MissingArtifactError."""
        ref = self.find(asset, partition)
        if ref is None:
            raise MissingArtifactError(
                f"{asset} has no partition {partition}: run that partition first"
            )
        return ref

    def refs(
        self, asset: str, *, since: str | None = None, through: str | None = None
    ) -> list[ArtifactRef]:
        """Return the references of all partitions, or from one to another, in their order.

        Raises CorruptArtifactError, naming the file.
        """
        keys = [
            key
            for key in self.storage.objects.list(f"refs/{asset}")
            if (since is None or since <= PurePosixPath(key).stem)
            and (through is None or PurePosixPath(key).stem <= through)
        ]
        found = get_all(self.storage.objects, keys)
        return [self._parsed_ref(key, data) for key, data in zip(keys, found, strict=True)]

    def built(self) -> Iterator[tuple[str, str]]:
        """Yield the asset and the partition of every reference, in their order."""
        for key in map(PurePosixPath, self.storage.objects.list("refs")):
            yield key.parent.name, key.stem

    def partitions(self) -> list[tuple[str, str]]:
        """Return every asset and partition of which something is kept, or was begun here."""
        keys = [*self.storage.objects.list("refs"), *self.storage.objects.list("replaced")]
        named = [(key.split("/")[1], key.split("/")[2].removesuffix(".json")) for key in keys]
        folders = self.storage.folders.names("artifacts", depth=2)
        locks = [(path.parent.name, path.stem) for path in (self.root / "locks").glob("*/*.lock")]
        return sorted(
            {*named, *((Path(one).parent.name, Path(one).name) for one in folders), *locks}
        )

    def references(self, asset: str, partition: str) -> dict[str, ArtifactRef]:
        """Return the current reference and those that it replaced, by their keys."""
        current = self.find(asset, partition)
        found = {_ref_key(asset, partition): current} if current else {}
        for key in self.storage.objects.list(f"replaced/{asset}/{partition}"):
            found[key] = self._read_ref(key)
        return found

    def replace(self, key: str, before: ArtifactRef, after: ArtifactRef) -> None:
        """Let the reference at a key of ``references`` name other content of the same work."""
        if key == _ref_key(before.asset, before.partition):
            self.storage.objects.put(key, _bytes_of(after))
            return
        self.storage.objects.put(_replaced_key(after), _bytes_of(after))
        if key != _replaced_key(after):
            self.storage.objects.delete(key)

    def holding(
        self, asset: str, partition: str, *, is_waiting: bool = True
    ) -> AbstractContextManager[None]:
        """Hold a partition as its builder does; raises WorkspaceBusyError unless it is waiting."""
        lock = self.root / "locks" / asset / f"{partition}.lock"
        return exclusive_lock(lock, what=f"{asset} {partition}", is_waiting=is_waiting)

    def path(self, ref: ArtifactRef) -> Path:
        """Return the artifact's folder; raises MissingArtifactError when it is gone."""
        try:
            return self.storage.folders.path(ref.uri)
        except MissingArtifactError as error:
            raise MissingArtifactError(
                f"{ref.asset} {ref.partition}: its folder {self.storage.url}/{ref.uri} is gone: "
                f"restore it from a copy, or run the partition again {_OF_HISTORY}"
            ) from error

    def folder(self, uri: str) -> Path:
        """Return the folder that a log entry or a reference names, on this machine.

        Raises MissingArtifactError.
        """
        return self.storage.folders.path(uri)

    def verify(self, ref: ArtifactRef) -> None:
        """Raise CorruptArtifactError unless the files still have the recorded digest."""
        got = digest_folder(self.path(ref))
        if got != ref.digest:
            raise CorruptArtifactError(
                f"{ref.asset} {ref.partition}: want digest {ref.digest}, got {got} in "
                f"{self.path(ref)}: restore it from a copy, or remove it and run the "
                f"partition again {_OF_HISTORY}"
            )

    def build(
        self, step: Step, write: Callable[[Path], Written], *, is_history: bool = False
    ) -> Built:
        """Return the step's artifact, calling ``write`` only when the work was not yet done.

        While another process builds the partition this one waits for it, however long that takes
        (a training takes hours, and failing then would fail the run), and mostly finds it done.

        Args:
            step: what the logical id covers.
            write: fills an empty folder, which appears under its digest whole or not at all.
            is_history: an artifact that stands is kept, whatever became of its inputs; one whose
                folder is gone is made again only if it comes out equal, or CorruptArtifactError.
        """
        standing = self._standing(step, is_history=is_history)
        if standing:
            return standing
        with self.holding(step.asset, step.partition):
            # another process may have built it while this one waited
            return self._standing(step, is_history=is_history) or self._make(
                step, write, is_history=is_history
            )

    def _standing(self, step: Step, *, is_history: bool) -> Built | None:
        """Return the artifact that stands, if it is the step's or history."""
        existing = self.find(step.asset, step.partition)
        if existing is None or not self._is_there(existing):
            return None
        is_same = existing.logical_id == step.logical_id
        if not (is_same or is_history):
            return None
        return Built(existing, is_skipped=True, is_superseded=not is_same)

    def _make(self, step: Step, write: Callable[[Path], Written], *, is_history: bool) -> Built:
        lost = self.find(step.asset, step.partition) if is_history else None
        with self.storage.folders.staged() as staged:
            written = write(staged)
            digest = digest_folder(staged)
            if lost and lost.digest != digest:
                raise CorruptArtifactError(
                    f"{step.asset} {step.partition} is history and its folder "
                    f"{self.storage.url}/{lost.uri} is gone; made again it has the digest "
                    f"{digest}, want {lost.digest}: restore the folder from a copy"
                )
            uri = folder_of(step.asset, step.partition, digest)
            self.storage.folders.commit(staged, uri)
        ref = ArtifactRef(
            asset=step.asset,
            partition=step.partition,
            uri=uri,
            logical_id=step.logical_id,
            digest=digest,
            schema_id=step.schema_id,
            rows=written.rows,
            as_of=step.as_of,
            producer=step.code,
            inputs=tuple(ref.logical_id for ref in step.inputs),
            figures=json.loads(json.dumps(dict(written.figures))),
        )
        self._let_stand(ref)
        return Built(ref, is_skipped=False)

    def restore(
        self, asset: str, partition: str, *, is_wanted: Callable[[ArtifactRef], bool]
    ) -> ArtifactRef | None:
        """Let the partition mean what it meant before, unless what it means now ``is_wanted``.

        Returns the wanted reference, or None where there never was one.
        """
        with self.holding(asset, partition):
            current = self.find(asset, partition)
            if current is None or is_wanted(current):
                return current
            for key in self.storage.objects.list(f"replaced/{asset}/{partition}"):
                ref = self._read_ref(key)
                if is_wanted(ref) and self._is_there(ref):
                    self._let_stand(ref)
                    return ref
        return None

    def _let_stand(self, ref: ArtifactRef) -> None:
        """Make ``ref`` the current one, and keep the one that it replaces."""
        objects, key = self.storage.objects, _ref_key(ref.asset, ref.partition)
        before = self.find(ref.asset, ref.partition)
        if before is not None and before != ref:
            objects.put(_replaced_key(before), _bytes_of(before))
        objects.put(key, _bytes_of(ref))

    def tombstones(self) -> Tombstones:
        """Return the tombstones of erased users, as they are now; raises ErasureError.

        Ask within ``write`` of a build: whoever erases waits for builds that asked before.
        """
        return self._tombstones.read()

    def sweep(self) -> None:
        """Remove the unfinished work of killed runs."""
        self.storage.folders.sweep()
        for folder in ("refs", "replaced", "tombstones", "erasures"):
            sweep_temporaries(self.root / folder)

    def _is_there(self, ref: ArtifactRef) -> bool:
        return self.storage.folders.exists(ref.uri)

    def _read_ref(self, key: str) -> ArtifactRef:
        return self._parsed_ref(key, self.storage.objects.get(key))

    def _parsed_ref(self, key: str, data: bytes) -> ArtifactRef:
        try:
            return ArtifactRef.from_json(data)
        except LakeError as error:
            raise type(error)(f"{self.storage.url}/{key}: {error}") from error


def folder_of(asset: str, partition: str, digest: str) -> str:
    """Return the folder of an artifact, relative to the root of the lake."""
    return f"artifacts/{asset}/{partition}/{digest[:16]}"


def _replaced_key(ref: ArtifactRef) -> str:
    work = f"{ref.logical_id[:16]}-{ref.digest[:16]}"
    return f"replaced/{ref.asset}/{ref.partition}/{work}.json"


def _bytes_of(ref: ArtifactRef) -> bytes:
    return (json.dumps(ref.to_json(), indent=1, sort_keys=True) + "\n").encode()


def _ref_key(asset: str, partition: str) -> str:
    return f"refs/{asset}/{partition}.json"
