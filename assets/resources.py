"""What assets are given: the workspace, and how references travel."""

import os
from dataclasses import replace
from pathlib import Path

import dagster as dg

from assets.bucket_maps import bucket_map
from assets.io_manager import RefIOManager
from assets.workspace import Workspace
from lake.tombstones import KEY_VARIABLE


@dg.resource(config_schema={"root": dg.StringSource})
def workspace_resource(context: dg.InitResourceContext) -> Workspace:
    """Open the workspace of this code location, once per run.

    Nothing that a run starts asks the tombstones: training and Ray get rows that they let through.
    """
    root = Path(context.resource_config["root"])
    workspace = Workspace.open(root, erasure_key=dg.EnvVar(KEY_VARIABLE).get_value() or "")
    return replace(workspace, each_bucket=bucket_map(os.environ))


@dg.io_manager(required_resource_keys={"workspace"})
def ref_io_manager(context: dg.InitResourceContext) -> RefIOManager:
    """Return the manager that passes references on."""
    workspace: Workspace = context.resources.workspace
    return RefIOManager(workspace)
