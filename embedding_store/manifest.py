"""What a version says about itself: the proof that is re-checked by checksum.

The folder's name is the digest of the manifest's content, and the manifest holds the digest of
every file, so whoever trusts the name can prove every byte below it.

Format 2 says how the vectors are encoded; a version of float32 is written in format 1, as ever: its
bytes and its digest do not change, and releases that know no other dtype go on reading it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from embedding_store.dtypes import DEFAULT_DTYPE, encoding_of
from embedding_store.errors import CorruptVersionError, UnknownEntryError
from lake.digests import digest_file, digest_json
from lake.sealed import json_object

FORMAT_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a version comes from."""

    day: str
    as_of: str
    """Instant (ISO, UTC) up to which the vectors may have seen data, exclusive."""
    logical_id: str
    """Of the work that made the vectors: the same work is published once."""
    model_id: str
    model_digest: str
    base_id: str
    base_digest: str
    tokenizer_id: str
    tokenizer_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One data file of a version."""

    path: str
    rows: int
    sha256: str
    bytes: int

    @classmethod
    def of(cls, folder: Path, path: str, *, rows: int) -> "FileRecord":
        """Return the record of a file that lies below a version's ``folder``."""
        file = folder / path
        return cls(path=path, rows=rows, sha256=digest_file(file), bytes=file.stat().st_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Which users must be there, and the share that is."""

    definition: str
    required: int
    covered: int

    @property
    def share(self) -> float:
        """Covered over required users; 1 when nobody is required."""
        return self.covered / self.required if self.required else 1.0

    def without(self, num_users: int) -> "Coverage":
        """Return the coverage once users that were covered are gone.

        Who was required is not kept: each counts as one who was. Where coverage was full, its share
        stays right; otherwise it is a lower bound.
        """
        gone = min(num_users, self.covered)
        return replace(self, required=self.required - gone, covered=self.covered - gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The content of ``manifest.json``."""

    frame: int
    dim: int
    origin: Origin
    reference: str | None
    """Digest of the version whose coordinates these vectors were turned to; None opens a frame."""
    transform_sha256: Mapping[str, str]
    """Of the matrices that took raw user and item vectors to the frame."""
    files: tuple[FileRecord, ...]
    coverage: Coverage
    default_user: tuple[float, ...]
    """The vector of a user without history, which unknown users get; decoded, as all answers."""
    dtype: str = DEFAULT_DTYPE
    """How the vectors lie in the files (``embedding_store.dtypes``)."""
    score_error: float | None = None
    """Largest change of a score by the encoding on a probe, relative to the largest score there;
    None of float32, which encodes nothing."""
    metric: str = "inner_product"
    normalised: bool = False
    gate_record: str = "gates/<digest>.json"

    def __post_init__(self) -> None:
        """Raise ContractError for a dtype that does not exist."""
        encoding_of(self.dtype)

    @property
    def digest(self) -> str:
        """The content digest: the version's folder name."""
        return digest_json(self.to_json())

    @property
    def format_version(self) -> int:
        """The format that it is written in: the oldest that can say what it says."""
        return 1 if self.dtype == DEFAULT_DTYPE else FORMAT_VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, with its ``format_version``."""
        fields = json.loads(json.dumps(asdict(self)))
        if self.format_version == 1:
            del fields["score_error"]
        return {"format_version": self.format_version, **fields}

    def to_bytes(self) -> bytes:
        """Return the file's bytes, the same for equal content."""
        return (json.dumps(self.to_json(), indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = "manifest") -> "Manifest":
        """Read what ``to_bytes`` wrote, called ``name`` in errors.

        Raises CorruptVersionError, or UnknownEntryError for another format.
        """
        try:
            fields: dict[str, Any] = json_object(data)
            version = fields.pop("format_version")
            if version not in range(1, FORMAT_VERSION + 1):
                raise UnknownEntryError(
                    f"{name}: this release reads formats through {FORMAT_VERSION}, got "
                    f"{version!r}: upgrade"
                )
            manifest = cls(
                **{
                    **fields,
                    "origin": Origin(**fields["origin"]),
                    "files": tuple(FileRecord(**one) for one in fields["files"]),
                    "coverage": Coverage(**fields["coverage"]),
                    "default_user": tuple(fields["default_user"]),
                }
            )
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptVersionError(
                f"{name}: want a manifest in JSON, got {len(data)} bytes that are none ({error}): "
                "restore it from a copy"
            ) from error
        if manifest.format_version != version:
            raise CorruptVersionError(
                f"{name}: want {manifest.dtype} in format {manifest.format_version}, got it in "
                f"format {version}: restore it from a copy"
            )
        return manifest

    def rows(self, side: str) -> int:
        """Return the number of ``user`` or ``item`` rows."""
        return sum(one.rows for one in self.files if one.path.startswith(f"{side}/"))

    def parts(self, side: str) -> tuple[FileRecord, ...]:
        """Return the ``user`` or ``item`` parts by number."""
        found = [one for one in self.files if one.path.startswith(f"{side}/")]
        return tuple(sorted(found, key=lambda one: int(one.path.split("-")[-1].split(".")[0])))
