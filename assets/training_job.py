"""What a training process is asked to do, and what it answers: JSON on both sides of the fence."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from assets.errors import JobError
from lake.refs import ArtifactRef

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """One run of training: everything by path and value, so it also runs by hand."""

    task: str
    """``pretrain``, ``fine_tune``, or a task of one's own as ``package.module:function``."""

    recipe: str
    """Name of the recipe, or ``package.module:function``."""

    data: Mapping[str, str | Sequence[str] | None]
    """Fields of ``training.data.TrainingData`` that are paths, or lists of paths."""

    as_of: str
    """Instant (ISO, UTC) up to which the data may be seen, exclusive."""

    output: str
    """Empty folder that receives the model."""

    asset: str
    partition: str
    mlflow_folder: str
    """Where the workspace keeps MLflow."""

    log_path: str
    """File that receives every line, also the last ones before a crash."""

    day: str | None = None
    """The UTC date that a fine-tune learns."""

    base: str | None = None
    """Folder of the model that a fine-tune starts from."""

    experiment: str = "marquee"
    mlflow_base_url: str = "http://127.0.0.1:5000"
    inputs: tuple[ArtifactRef, ...] = ()
    """What the data is, for lineage."""

    checkpoints: str | None = None
    """Folder in which a run that was killed finds its state; None = it begins again."""

    threads: int = 1
    """CPU threads; a model is byte-equal only for an equal number of them."""

    def __post_init__(self) -> None:
        """Refuse what no process could start with; raises JobError."""
        if self.task == "fine_tune" and not (self.base and self.day):
            raise JobError(
                f"training job: fine_tune needs a base model and a day, "
                f"got base={self.base!r}, day={self.day!r}"
            )
        if self.threads < 1:
            raise JobError(f"training job: want at least 1 thread, got {self.threads}")

    @property
    def run_name(self) -> str:
        """Name of the run in MLflow."""
        return f"{self.asset} {self.partition}"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        inputs = [ref.to_json() for ref in self.inputs]
        return {"format_version": FORMAT_VERSION, **asdict(self), "inputs": inputs}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "TrainingJob":
        """Read what ``to_json`` returned; raises JobError, naming what is wrong."""
        fields = dict(value)
        version = fields.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise JobError(f"training job: read format {FORMAT_VERSION}, got {version!r}")
        inputs = tuple(ArtifactRef.from_json(json.dumps(ref)) for ref in fields.pop("inputs", ()))
        try:
            return cls(**fields, inputs=inputs)
        except TypeError as error:
            reason = str(error).removeprefix("TrainingJob.__init__() ")
            raise JobError(f"training job: {reason}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What a training process made."""

    rows: int
    """Parameters of the model."""

    digest: str
    """Digest of the output folder: the one that the lake gives it."""

    run_id: str
    run_url: str
    wall_s: float
    peak_rss_mb: int
    """Largest resident memory of the process, MiB."""

    figures: Mapping[str, Any] = field(default_factory=dict)
    """What the task reports, and under ``curves`` the points of every loss: [[step, value], ...]"""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "TrainingResult":
        """Read what ``to_json`` returned."""
        return cls(**value)
