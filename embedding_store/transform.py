"""What took raw vectors to a frame: the record beside stabilised embeddings."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from embedding_store.errors import StabilisationError, UnknownEntryError
from embedding_store.field_types import require_types
from lake.atomic import replace_json
from lake.digests import digest_file
from lake.sealed import json_object, sealed, unsealed

FORMAT_VERSION = 2
_SEALED_FROM = 2
"""The first format that names the digests of the vectors, and of itself."""
STABILISATION_FILE = "stabilisation.json"
TRANSFORM_FILES = {"user": "transform_user.npy", "item": "transform_item.npy"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Why vectors are in a frame of their own, beside one that they cannot be brought into."""

    beside: int
    judged_against: str
    """Digest of the version of that frame which they were measured against."""
    because: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stabilisation:
    """The content of ``stabilisation.json``; the matrices lie beside it (float64 ``.npy``)."""

    frame: int
    dim: int
    reference: str | None
    """Digest of the version whose coordinates the vectors were turned to; None opens a frame."""
    common_items: int
    common_users: int
    singular_values: tuple[float, ...]
    """Of the scores of all users and items: descending."""
    transform_sha256: Mapping[str, str]
    files_sha256: Mapping[str, str] = field(default_factory=dict)
    """Of the vectors that lie beside it, by path; empty in a record of the first format."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Similarity to the reference ``before`` and ``after``, and how well scores were kept."""
    opens: Opening | None = None
    """None in a frame that stands, and in a store's first."""

    def write(self, path: Path) -> None:
        """Write the record."""
        replace_json(path, sealed({"format_version": FORMAT_VERSION, **asdict(self)}))

    def require_files(self, folder: Path) -> None:
        """Raise StabilisationError unless the vectors in ``folder`` are those that were written."""
        for path, want in self.files_sha256.items():
            if not (folder / path).is_file() or digest_file(folder / path) != want:
                raise StabilisationError(
                    f"{folder / path} is missing or not as it was stabilised: remove the folder "
                    "and stabilise again"
                )

    def of_files(self, folder: Path) -> "Stabilisation":
        """Return this record of the vectors as they lie in ``folder``: written, or rewritten."""
        digests = {
            path.relative_to(folder).as_posix(): digest_file(path)
            for path in sorted(folder.rglob("*.parquet"))
        }
        return replace(self, files_sha256=digests)

    @classmethod
    def read(cls, path: Path) -> "Stabilisation":
        """Read what ``write`` wrote.

        Raises StabilisationError, or UnknownEntryError for another format.
        """
        try:
            fields = json_object(path.read_bytes())
            if (version := fields["format_version"]) not in range(1, FORMAT_VERSION + 1):
                raise UnknownEntryError(
                    f"{path}: this release reads formats through {FORMAT_VERSION}, got "
                    f"{version!r}: upgrade"
                )
            fields = unsealed(fields) if version >= _SEALED_FROM else fields
            del fields["format_version"]
            opens = fields.pop("opens", None)
            require_types(cls, fields)
            return cls(
                **{
                    **fields,
                    "singular_values": tuple(fields["singular_values"]),
                    "opens": None if opens is None else _opening(opens),
                }
            )
        except (FileNotFoundError, ValueError, TypeError, KeyError) as error:
            raise StabilisationError(
                f"{path}: want the record of a stabilisation in JSON, got none ({error}): remove "
                "the folder and stabilise again"
            ) from error


def _opening(fields: Any) -> Opening:
    require_types(Opening, fields)
    return Opening(**fields)
