"""What the orchestrator shows of an artifact."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from lake.code_identity import code_identity
from lake.lake import Built
from lake.refs import ArtifactRef

logger = logging.getLogger(__name__)


def code_version(modules: Sequence[str]) -> str:
    """Return the code version that the orchestrator shows: the start of the code identity."""
    return code_identity(*modules)[:12]


def shown(value: Any) -> Any:
    """Return a figure in the form that the orchestrator renders best."""
    if isinstance(value, Mapping | list | tuple):
        return dg.MetadataValue.json(value)
    return value


def materialized(
    built: Built, *, metadata: Mapping[str, Any] | None = None
) -> dg.MaterializeResult[ArtifactRef]:
    """Report an artifact; a skipped one is reported too, with the same data version."""
    ref = built.ref
    if built.is_superseded:
        logger.warning(
            "%s %s is history and was kept, although its inputs, parameters or code are others by "
            "now: what was accepted or published stays as it was",
            ref.asset,
            ref.partition,
        )
    return dg.MaterializeResult(
        value=ref,
        data_version=dg.DataVersion(ref.digest),
        metadata={
            "dagster/row_count": ref.rows,
            "digest": ref.digest,
            "logical id": ref.logical_id,
            "as of": ref.as_of,
            "location": ref.uri,
            "skipped": built.is_skipped,
            "superseded inputs": built.is_superseded,
            **{name: shown(value) for name, value in ref.figures.items()},
            **(metadata or {}),
        },
    )
