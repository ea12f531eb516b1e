"""From valid events to tokens, and the vocabulary of the catalogue's titles."""

from dataclasses import replace
from datetime import timedelta

import dagster as dg

from assets import previews
from assets.partitions import daily, the_day_before
from assets.reporting import code_version, materialized
from assets.workspace import Workspace
from lake.days import end_of, start_of
from lake.lake import Built
from lake.refs import ArtifactRef
from training import item_statistics as statistics
from training import vocabulary as vocabularies
from training.tokens import storage
from training.tokens.tokenizers import TOKENIZERS

TOKENIZER = ("training.tokens.storage",)
VOCABULARY = ("training.vocabulary",)
STATISTICS = ("training.item_statistics",)
OWNERS = ["team:foundation-model"]


@dg.asset(
    partitions_def=daily,
    group_name="tokens",
    kinds={"arrow"},
    owners=OWNERS,
    code_version=code_version(TOKENIZER),
)
def interaction_tokens(
    workspace: dg.ResourceParam[Workspace], valid_events: ArtifactRef
) -> dg.MaterializeResult[ArtifactRef]:
    """The day's interactions: adjacent events of one user on one title, merged."""
    built = build_tokens(workspace, valid_events)
    return materialized(built, metadata=previews.of_tokens(workspace, built.ref, valid_events))


@dg.asset(
    partitions_def=daily,
    group_name="tokens",
    kinds={"arrow"},
    owners=OWNERS,
    code_version=code_version(TOKENIZER),
)
def viewing_tokens(
    workspace: dg.ResourceParam[Workspace], valid_events: ArtifactRef
) -> dg.MaterializeResult[ArtifactRef]:
    """The day's viewings: what users chose, for applications that do not need the rest."""
    built = build_tokens(workspace, valid_events, asset="viewing_tokens")
    return materialized(built, metadata=previews.of_tokens(workspace, built.ref, valid_events))


def build_tokens(
    workspace: Workspace, valid_events: ArtifactRef, *, asset: str = "interaction_tokens"
) -> Built:
    """Write the tokens of a day's valid events by the tokenizer of that name."""
    config = replace(TOKENIZERS[asset], num_buckets=workspace.config.num_buckets)
    events = workspace.lake.path(valid_events)
    return workspace.build(
        asset,
        valid_events.partition,
        lambda folder: storage.write_tokens(
            events, config, folder, each_bucket=workspace.each_bucket
        ),
        code_of=TOKENIZER,
        as_of=end_of(valid_events.partition),
        inputs=[valid_events],
        parameters={"tokenizer": config.to_json()},
    )


@dg.asset(
    partitions_def=daily,
    group_name="tokens",
    kinds={"parquet"},
    owners=OWNERS,
    code_version=code_version(VOCABULARY),
    deps=[dg.AssetDep("vocabulary", partition_mapping=the_day_before)],
)
def vocabulary(
    workspace: dg.ResourceParam[Workspace], catalogue: ArtifactRef
) -> dg.MaterializeResult[ArtifactRef]:
    """Title ids and their rows: grown day by day, never reordered, so it is history."""
    built = build_vocabulary(workspace, catalogue)
    return materialized(built, metadata=previews.of_table(workspace, built.ref))


def build_vocabulary(workspace: Workspace, catalogue: ArtifactRef) -> Built:
    """Write the day before's vocabulary, grown by a day's catalogue."""
    day = catalogue.partition
    yesterday = (start_of(day) - timedelta(days=1)).date()
    previous = (
        workspace.lake.require("vocabulary", yesterday.isoformat())
        if yesterday >= workspace.config.first_day
        else None
    )
    titles = workspace.lake.path(catalogue)
    before = workspace.lake.path(previous) if previous else None
    return workspace.build(
        "vocabulary",
        day,
        lambda folder: vocabularies.write_vocabulary(titles, before, start_of(day).date(), folder),
        code_of=VOCABULARY,
        as_of=end_of(day),
        inputs=[ref for ref in (catalogue, previous) if ref],
        is_history=True,
    )


@dg.asset(
    partitions_def=daily,
    group_name="tokens",
    kinds={"parquet"},
    owners=OWNERS,
    code_version=code_version(STATISTICS),
)
def item_statistics(
    workspace: dg.ResourceParam[Workspace],
    vocabulary: ArtifactRef,
    catalogue: ArtifactRef,
    interaction_tokens: ArtifactRef,
) -> dg.MaterializeResult[ArtifactRef]:
    """The day's events by vocabulary row, and which titles are no longer in the catalogue."""
    built = build_item_statistics(workspace, vocabulary, catalogue, interaction_tokens)
    return materialized(built, metadata=previews.of_table(workspace, built.ref))


def build_item_statistics(
    workspace: Workspace, vocabulary: ArtifactRef, catalogue: ArtifactRef, tokens: ArtifactRef
) -> Built:
    """Write what a day adds to the vocabulary's items."""
    inputs = [vocabulary, catalogue, tokens]
    rows, titles, of_day = workspace.paths(inputs)
    day = vocabulary.partition
    return workspace.build(
        "item_statistics",
        day,
        lambda folder: statistics.write_item_statistics(
            rows, titles, of_day, start_of(day).date(), folder
        ),
        code_of=STATISTICS,
        as_of=end_of(day),
        inputs=inputs,
    )
