"""What the orchestrator shows of an artifact: the picture, the figures, then where it came from."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from assets.figures import shown_figures
from lake.code_identity import code_identity
from lake.lake import Built
from lake.refs import ArtifactRef

logger = logging.getLogger(__name__)

EMBEDDED = "picture, embedded"
"""Key of a picture that is in the metadata itself: long, so it comes last."""

WORK = "this run"
BUILT, WAS_THERE = "built now", "was there already"
_KEPT = (
    "was there already and is history: it was kept, although its inputs, parameters or code are "
    "others by now"
)
_ID_CHARS = 16  # of an id on a page: enough to tell any two apart


def code_version(modules: Sequence[str]) -> str:
    """Return the code version that the orchestrator shows: the start of the code identity."""
    return code_identity(*modules)[:12]


def work(*, is_skipped: bool) -> dict[str, str]:
    """Return what a run did, as metadata."""
    return {WORK: WAS_THERE if is_skipped else BUILT}


def is_skipped(metadata: Mapping[str, dg.MetadataValue[Any]]) -> bool:
    """Return whether a run found its asset there already."""
    done = metadata.get(WORK)
    return done is not None and str(done.value).startswith(WAS_THERE)


def materialized(
    built: Built, *, metadata: Mapping[str, Any] | None = None
) -> dg.MaterializeResult[ArtifactRef]:
    """Report an artifact; a skipped one is reported too, with the same data version.

    ``metadata`` comes first on its page: a picture, most often.
    """
    ref, shown = built.ref, dict(metadata or {})
    embedded = {name: shown.pop(name) for name in (EMBEDDED,) if name in shown}
    if built.is_superseded:
        logger.info(  # of most days: late events of the days before came after it
            "%s %s is history and was kept, although its inputs, parameters or code are others by "
            "now: what was accepted or published stays as it was",
            ref.asset,
            ref.partition,
        )
    return dg.MaterializeResult(
        value=ref,
        data_version=dg.DataVersion(ref.digest),
        metadata={
            **shown,
            "dagster/row_count": ref.rows,
            **shown_figures(ref),
            **({WORK: _KEPT} if built.is_superseded else work(is_skipped=built.is_skipped)),
            "sees data before": ref.as_of,
            "location in the lake": ref.uri,
            "digest": ref.digest[:_ID_CHARS],
            "logical id": ref.logical_id[:_ID_CHARS],
            **embedded,
        },
    )
