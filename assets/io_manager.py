"""How references travel between assets: as JSON that the lake already holds, never as pickles."""

import dagster as dg

from assets.timeline import UNPARTITIONED
from assets.workspace import Workspace
from lake.errors import LakeError
from lake.refs import ArtifactRef


class RefIOManager(dg.IOManager):
    """Passes ArtifactRefs on: the lake stored them when it built the artifacts."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def handle_output(self, context: dg.OutputContext, obj: ArtifactRef | None) -> None:
        """Check that what the asset returns is what the lake holds."""
        if obj is None:
            return
        held = self._workspace.lake.require(obj.asset, obj.partition)
        if held != obj:
            raise LakeError(
                f"{context.asset_key.to_user_string()} returned {obj.uri}, the lake holds "
                f"{held.uri}: another run rebuilt it meanwhile, run the partition again"
            )

    def load_input(self, context: dg.InputContext) -> ArtifactRef:
        """Return the upstream partition's reference; raises MissingArtifactError."""
        key = context.partition_key if context.has_asset_partitions else UNPARTITIONED
        return self._workspace.lake.require(context.asset_key.to_user_string(), key)
