"""The contracts as asset checks: each shows its figure beside its threshold, and blocks the run.

What a check shows was computed with the artifact and is stored beside it, so it holds in every
later run as well: the readers of the artifacts refuse what was blocked, whoever calls them. Each
names its day, as checks with partitions are a preview still (dagster 1.13).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from assets.check_results import MEANINGS, gate_numbers, numbers, told, what_failed
from assets.suites import BLOCKING_CHECKS, WARNING_CHECKS
from assets.workspace import Workspace
from lake.refs import ArtifactRef

VALID_EVENTS = [
    dg.AssetCheckSpec(
        name,
        asset="valid_events",
        description=MEANINGS[name],
        blocking=name in BLOCKING_CHECKS,
    )
    for name in (*BLOCKING_CHECKS, *WARNING_CHECKS)
]


@dg.multi_asset_check(name="day_validation", specs=VALID_EVENTS)
def day_validation(
    context: dg.AssetCheckExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> Iterator[dg.AssetCheckResult]:
    """Great Expectations over the day's events: schema, ranges, sets, quarantine, volume."""
    ref = workspace.lake.require("valid_events", context.partition_key)
    for name, behind in expectations_behind(ref).items():
        yield dg.AssetCheckResult(
            asset_key="valid_events",
            check_name=name,
            passed=what_failed(behind) is None,
            description=f"{ref.partition}: {told(behind)}",
            severity=severity_of(name),
            metadata={"day": ref.partition, **numbers(behind)},
        )


def expectations_behind(valid_events: ArtifactRef) -> dict[str, list[Mapping[str, Any]]]:
    """Return how the expectations behind each check came out on a day, as stored beside it."""
    stored = valid_events.figures["validation"]["expectations"]
    names = (*BLOCKING_CHECKS, *WARNING_CHECKS)
    return {name: [one for one in stored if one["name"] == name] for name in names}


def severity_of(check: str) -> dg.AssetCheckSeverity:
    """Return how bad it is when a check on a day's events fails."""
    is_blocking = check in BLOCKING_CHECKS
    return dg.AssetCheckSeverity.ERROR if is_blocking else dg.AssetCheckSeverity.WARN


@dg.asset_check(asset="model_evaluation", blocking=True)
def model_quality(
    context: dg.AssetCheckExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.AssetCheckResult:
    """The day's model is not worse than the one it would replace, beyond the margin."""
    ref = workspace.lake.require("model_evaluation", context.partition_key)
    gate = ref.figures["quality gate"]
    return dg.AssetCheckResult(
        passed=gate["is_passed"],
        description=f"{ref.partition}: {verdict(gate)}",
        metadata={"day": ref.partition, **gate_numbers(gate)},
    )


def verdict(gate: Mapping[str, Any]) -> str:
    """Return the quality gate's figures and what follows from them, for people."""
    metric, _, _ = gate["metric"].partition(",")
    figures = (
        f"the day's model differs from the champion by {gate['difference']:+.1%} "
        f"[{gate['lower']:+.1%}, {gate['upper']:+.1%}] of its {metric}, on "
        f"{gate['num_targets']} targets of {gate['num_users']} withheld users; want the interval "
        f"above {-gate['margin']:.0%}"
    )
    if gate["is_passed"]:
        return figures
    return (
        f"{figures}: the champion stays and the day is not published. Compare the curves of the "
        "two runs and the day's events"
    )


CHECKS = [day_validation, model_quality]
