"""References to artifacts: data travels between steps as one of these, never as a table."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lake.errors import CorruptArtifactError, UnknownFormatError
from lake.sealed import json_object

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRef:
    """One artifact of one asset and partition."""

    asset: str
    """Name of the asset that made it."""

    partition: str
    """Partition key, ISO date of the day or of the month's first day."""

    uri: str
    """Folder of the artifact, relative to the root of the lake."""

    logical_id: str
    """Digest of inputs, parameters and code: equal means the same work, which is then skipped."""

    digest: str
    """Digest of the content."""

    schema_id: str
    """Name and version of the layout inside the folder, such as ``tokens/1``."""

    rows: int
    """Rows of the artifact's main table; for a model, its parameters."""

    as_of: str
    """Instant (ISO, UTC) up to which the artifact may have seen data, exclusive."""

    producer: str
    """Code identity of the step."""

    inputs: tuple[str, ...] = ()
    """Logical ids of the inputs, in the order the step takes them."""

    figures: Mapping[str, Any] = field(default_factory=dict)
    """Numbers about the artifact that a person wants to see; outside the digest."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, with its ``format_version``."""
        return {"format_version": FORMAT_VERSION, **asdict(self), "inputs": list(self.inputs)}

    @classmethod
    def from_json(cls, data: bytes | str) -> "ArtifactRef":
        """Read what ``to_json`` wrote; raises UnknownFormatError and CorruptArtifactError."""
        try:
            fields = json_object(data)
            if (version := fields.pop("format_version")) != FORMAT_VERSION:
                raise UnknownFormatError(
                    f"artifact reference: want format {FORMAT_VERSION}, got {version!r}: use the "
                    "release that wrote it, or a newer one"
                )
            return cls(**{**fields, "inputs": tuple(fields["inputs"])})
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptArtifactError(
                f"want an artifact reference in JSON, got {len(data)} bytes ({error}): restore it "
                "from a copy, or remove it and run the partition again"
            ) from error
