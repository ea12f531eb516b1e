"""Which inputs of a model are others by now: it is history and stays, and says so.

Late events, a released quarantine and a file that was taken back rewrite a day's events and tokens.
What was made of them before is not made again, unless a person asks for it.
"""

from datetime import datetime

from assets.training_inputs import inputs_before
from assets.workspace import Workspace
from lake.days import end_of, start_of
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
    """Return the names of artifacts in the order given, for people: days in a row as one."""
    rows: list[list[ArtifactRef]] = []
    for ref in refs:
        if rows and _follows(ref, rows[-1][-1]):
            rows[-1].append(ref)
        else:
            rows.append([ref])
    return ", ".join(_row_named(row) for row in rows)


def _follows(ref: ArtifactRef, before: ArtifactRef) -> bool:
    # of one asset there are several only where its partitions are days
    return ref.asset == before.asset and start_of(ref.partition) == end_of(before.partition)


def _row_named(row: list[ArtifactRef]) -> str:
    first = row[0]
    if len(row) == 1:
        return f"{first.asset} {first.partition}"
    return f"{first.asset} of {len(row)} days from {first.partition}"


def _was_read(workspace: Workspace, ref: ArtifactRef, *, read_by: ArtifactRef) -> bool:
    """Return whether a model read this content, whichever work had made it."""
    if ref.logical_id in read_by.inputs:
        return True
    known = workspace.lake.references(ref.asset, ref.partition).values()
    return any(one.digest == ref.digest and one.logical_id in read_by.inputs for one in known)
