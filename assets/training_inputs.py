"""What a model reads: tokens, prefix, catalogue and vocabulary up to an instant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from assets.timeline import UNPARTITIONED
from assets.workspace import Workspace
from lake.refs import ArtifactRef
from training.data import TrainingData


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingInputs:
    """References of everything that a step on histories reads, and the same as folders."""

    tokens: Sequence[ArtifactRef]
    prefix: ArtifactRef
    catalogue: ArtifactRef
    vocabulary: ArtifactRef
    data: TrainingData

    @property
    def refs(self) -> list[ArtifactRef]:
        """The references, in the order that logical ids take them."""
        return [*self.tokens, self.prefix, self.catalogue, self.vocabulary]

    def paths(self) -> dict[str, str | list[str] | None]:
        """Return the folders as JSON, for a process of its own."""
        return {
            "token_folders": [str(folder) for folder in self.data.token_folders],
            "prefix_folder": str(self.data.prefix_folder),
            "catalogue_folder": str(self.data.catalogue_folder),
            "vocabulary_folder": str(self.data.vocabulary_folder),
        }


def inputs_before(workspace: Workspace, as_of: datetime) -> TrainingInputs:
    """Return what is known before ``as_of``; raises GapError when days are missing."""
    tokens = workspace.history("interaction_tokens", as_of=as_of)
    prefix = workspace.lake.require("history_prefix", UNPARTITIONED)
    last_day = tokens[-1].partition
    catalogue = workspace.lake.require("catalogue", last_day)
    vocabulary = workspace.lake.require("vocabulary", last_day)
    path = workspace.lake.path
    return TrainingInputs(
        tokens=tokens,
        prefix=prefix,
        catalogue=catalogue,
        vocabulary=vocabulary,
        data=TrainingData(
            token_folders=workspace.paths(tokens),
            prefix_folder=path(prefix),
            catalogue_folder=path(catalogue),
            vocabulary_folder=path(vocabulary),
            as_of=as_of,
        ),
    )
