"""What another team builds on the embeddings: it knows the feature service, not our files."""

import json
from pathlib import Path
from typing import Any

import dagster as dg

from assets import previews
from assets.next_title_ranker import train_ranker
from assets.partitions import daily
from assets.reporting import code_version, materialized
from assets.workspace import Workspace
from embedding_store.state import StoreState
from feature_repo.lookup import open_features
from lake.days import end_of, start_of
from lake.lake import Written
from lake.refs import ArtifactRef
from training.tokens.storage import refuse_blocked

RANKER = ("assets.next_title_ranker",)


@dg.asset(
    partitions_def=daily,
    group_name="consumers",
    kinds={"scikitlearn", "feast"},
    owners=["team:home-page"],
    code_version=code_version(RANKER),
    deps=["valid_events", "served_features"],
)
def next_title_ranker(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult[ArtifactRef]:
    """A downstream ranker, with and without the embeddings that were served at each exposure."""
    day = context.partition_key
    state = workspace.store.state()
    frame = frame_to_learn_from(state, day) or workspace.config.frame
    events = workspace.history("valid_events", as_of=end_of(day))
    for folder in workspace.paths(events):
        refuse_blocked(folder)

    def write(folder: Path) -> Written:
        report = train_ranker(
            {ref.partition: workspace.lake.path(ref) for ref in events},
            open_features(workspace.feast_dir, frame=frame),
            test_day=day,
        ).to_json()
        (folder / "report.json").write_text(json.dumps(report, indent=1, sort_keys=True))
        return Written(report["num_test"], ranker_figures(report))

    served = workspace.store.state(as_of=end_of(day)).served(frame)
    built = workspace.build(
        "next_title_ranker",
        day,
        write,
        code_of=RANKER,
        as_of=end_of(day),
        inputs=events,
        parameters={"served": [[at.isoformat(), one.published_digest] for at, one in served]},
    )
    return materialized(built, metadata=previews.of_ranker(workspace, built.ref))


def frame_to_learn_from(state: StoreState, day: str) -> int | None:
    """Return the newest frame that served before the day began, else the oldest; None without one.

    What a ranker learns from and what it is asked on are of one frame. One that began to serve
    on the day itself has nothing to learn from yet: the one before it goes on.
    """
    began = start_of(day)
    served = [
        frame
        for frame in state.live_frames
        if any(switch.effective_at < began for switch in state.stable_switches(frame))
    ]
    return max(served, default=min(state.live_frames, default=None))


def ranker_figures(report: dict[str, Any]) -> dict[str, Any]:
    """Return what a person wants to know of the comparison."""
    return {
        "is better": report["is_better"],
        "trained on": report["num_train"],
        "tested users": report["num_test_users"],
        "comparisons": report["comparisons"],
    }
