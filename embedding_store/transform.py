"""What took raw vectors to a frame: the record beside stabilised embeddings."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from embedding_store.errors import StabilisationError, UnknownEntryError
from lake.atomic import replace_json

FORMAT_VERSION = 1
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
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Similarity to the reference ``before`` and ``after``, and how well scores were kept."""
    opens: Opening | None = None
    """None in a frame that stands, and in a store's first."""

    def write(self, path: Path) -> None:
        """Write the record; what says nothing of an opening is as earlier releases read it."""
        content = {"format_version": FORMAT_VERSION, **asdict(self)}
        if self.opens is None:
            del content["opens"]
        replace_json(path, content)

    @classmethod
    def read(cls, path: Path) -> "Stabilisation":
        """Read what ``write`` wrote.

        Raises StabilisationError, or UnknownEntryError for another format.
        """
        try:
            fields: dict[str, Any] = dict(json.loads(path.read_bytes()))
            version = fields.pop("format_version")
            if version != FORMAT_VERSION:
                raise UnknownEntryError(
                    f"{path}: this release reads format {FORMAT_VERSION}, got {version!r}: upgrade"
                )
            opens = Opening(**fields["opens"]) if "opens" in fields else None
            values = tuple(fields["singular_values"])
            return cls(**{**fields, "singular_values": values, "opens": opens})
        except (FileNotFoundError, ValueError, TypeError, KeyError) as error:
            raise StabilisationError(
                f"{path}: want the record of a stabilisation in JSON, got none ({error}): remove "
                "the folder and stabilise again"
            ) from error
