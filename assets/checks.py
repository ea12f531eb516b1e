"""The contracts as asset checks: each shows its figure beside its threshold, and blocks the run.

What a check shows was computed with the artifact and is stored beside it, so it holds in every
later run as well: the readers of the artifacts refuse what was blocked, whoever calls them.
"""

from collections.abc import Iterator

import dagster as dg

from assets.suites import BLOCKING_CHECKS, WARNING_CHECKS
from assets.workspace import Workspace

VALID_EVENTS = [
    dg.AssetCheckSpec(name, asset="valid_events", blocking=name in BLOCKING_CHECKS)
    for name in (*BLOCKING_CHECKS, *WARNING_CHECKS)
]


@dg.multi_asset_check(name="day_validation", specs=VALID_EVENTS)
def day_validation(
    context: dg.AssetCheckExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> Iterator[dg.AssetCheckResult]:
    """Great Expectations over the day's events: schema, ranges, sets, quarantine, volume."""
    ref = workspace.lake.require("valid_events", context.partition_key)
    stored = ref.figures["validation"]
    for name in (*BLOCKING_CHECKS, *WARNING_CHECKS):
        behind = [one for one in stored["expectations"] if one["name"] == name]
        is_blocking = name in BLOCKING_CHECKS
        yield dg.AssetCheckResult(
            asset_key="valid_events",
            check_name=name,
            passed=all(one["is_passed"] for one in behind),
            severity=dg.AssetCheckSeverity.ERROR if is_blocking else dg.AssetCheckSeverity.WARN,
            metadata={
                one["column"] or "the day": f"{one['observed']}, want {one['threshold']}"
                for one in behind
            },
        )


@dg.asset_check(asset="model_evaluation", blocking=True)
def model_quality(
    context: dg.AssetCheckExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.AssetCheckResult:
    """The day's model is not worse than the one it would replace, beyond the margin."""
    ref = workspace.lake.require("model_evaluation", context.partition_key)
    gate = ref.figures["quality gate"]
    return dg.AssetCheckResult(
        passed=gate["is_passed"],
        metadata={name: str(value) for name, value in gate.items()},
    )


CHECKS = [day_validation, model_quality]
