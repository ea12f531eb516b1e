"""Which inputs of a model are others by now: it is history and stays, and says so.

Late events, a released quarantine and a file that was taken back rewrite a day's events and tokens.
What was made of them before is not made again, unless a person asks for it.
"""

from datetime import datetime

from assets.training_inputs import inputs_before
from assets.workspace import Workspace
from lake.refs import ArtifactRef

SUPERSEDED = "superseded inputs"
"""Key in the metadata of models and versions; there is none where all inputs are what they were."""


def superseded_inputs(workspace: Workspace, model: ArtifactRef) -> list[ArtifactRef]:
    """Return what stands where a model read something else: by content, not by who made it."""
    current = inputs_before(workspace, datetime.fromisoformat(model.as_of)).refs
    return [ref for ref in current if not _was_read(workspace, ref, read_by=model)]


def superseded(workspace: Workspace, model: ArtifactRef) -> dict[str, str]:
    """Return the metadata that names a model's superseded inputs."""
    found = superseded_inputs(workspace, model)
    return {SUPERSEDED: named(found)} if found else {}


def named(refs: list[ArtifactRef]) -> str:
    """Return the names of artifacts, for people."""
    return ", ".join(f"{ref.asset} {ref.partition}" for ref in refs)


def _was_read(workspace: Workspace, ref: ArtifactRef, *, read_by: ArtifactRef) -> bool:
    """Return whether a model read this content, whichever work had made it."""
    if ref.logical_id in read_by.inputs:
        return True
    known = workspace.lake.references(ref.asset, ref.partition).values()
    return any(one.digest == ref.digest and one.logical_id in read_by.inputs for one in known)
