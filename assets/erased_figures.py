"""What references say of artifacts whose users were erased: the rows and figures of what is left.

Verdicts stay: what a day's expectations, a model's judgement or a gate found was found on what was
there. Only counts follow, so that rows in = valid + quarantined + duplicates holds as before.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.events import num_awaited
from assets.watermark import watermark_of
from assets.workspace import WorkspaceConfig
from lake.digests import digest_folder
from lake.lake import Lake
from lake.refs import ArtifactRef
from lake.user_rows import count_rows
from training.errors import TrainingError
from training.events import artifacts
from training.events.counts import Counts
from training.schema import TIMESTAMP
from training.tokens.config import TokenizerConfig
from training.tokens.partial import CONFIG_FILE, open_bucket
from training.tokens.storage import write_tokens
from training.tokens.tokenizers import TOKENIZERS

_OF_USERS = frozenset({"user_embeddings", "stabilised_embeddings"})
"""Assets with a row for each user, beside others."""

DEPENDENT = ("valid_events", *sorted(TOKENIZERS))
"""Assets of a day whose figures tell of other assets, in the order in which they do."""


def corrected(
    ref: ArtifactRef, folder: Path, removed: int, *, config: WorkspaceConfig
) -> ArtifactRef:
    """Return the reference with the rows and figures of ``folder``, which lost some rows."""
    figures = {**ref.figures, **_figures(ref, folder, removed)}
    if ref.asset == "raw_events":
        figures.update(_late(ref, folder, complete_at=watermark_of(config, ref.partition)))
    if ref.asset in TOKENIZERS:  # which has a row of its table for each user
        return replace(ref, rows=_num_tokens(folder), figures=figures)
    if ref.asset == "raw_events":  # whose late rows are none of the day's
        return replace(ref, rows=figures["rows"], figures=figures)
    # of another asset's tables nothing is known: its rows are theirs if they were as many
    is_counted = ref.asset in _OF_USERS or ref.rows == count_rows(folder) + removed
    return replace(ref, rows=ref.rows - removed if is_counted else ref.rows, figures=figures)


def corrections(lake: Lake, day: str) -> Iterator[tuple[str, ArtifactRef, ArtifactRef]]:
    """Yield what is to change of a day's figures that depend on several artifacts.

    Key, reference before and after; whoever asks holds the partitions of the ``DEPENDENT`` assets.
    """
    for asset in DEPENDENT:
        follow = _valid if asset == "valid_events" else _tokens
        for key, ref in lake.references(asset, day).items():
            after = follow(lake, ref)
            if after != ref:
                yield key, ref, after


def _figures(ref: ArtifactRef, folder: Path, removed: int) -> dict[str, Any]:
    """Return the counts that an artifact's own folder tells."""
    match ref.asset:
        case "raw_events":
            return {**_counted(folder), "erased": ref.figures.get("erased", 0) + removed}
        case "history_prefix":
            counts = artifacts.prefix_figures(artifacts.read_prefix(folder))
            return {**counts, "erased": ref.figures.get("erased", 0) + removed}
        case "valid_events":
            return _counted(folder)
        case "quarantined_events":
            by_rule = Counter[str]()
            for events in _buckets(folder, ["rule"]):
                by_rule.update(dict(pl.Series(events["rule"]).value_counts().iter_rows()))
            known = {rule: by_rule[rule] for rule in ref.figures["by_rule"]}
            return {"rows": by_rule.total(), "by_rule": known}
        case "user_embeddings":
            return {"users": ref.figures["users"] - removed}
    return {}


def _late(ref: ArtifactRef, folder: Path, *, complete_at: datetime) -> dict[str, int]:
    """Count again what came late, but for what is still awaited: nothing here has those rows."""
    awaited = num_awaited(ref)
    taken, too_late = 0, artifacts.num_too_late(folder)
    for events in _buckets(folder, ["received_at"]):
        is_late = pc.greater_equal(events["received_at"], pa.scalar(complete_at, type=TIMESTAMP))
        taken += int(is_late.fill_null(fill_value=False).to_numpy().sum())
    return {"late": awaited + taken + too_late, "late_taken": taken, "too_late": too_late}


def _counted(folder: Path) -> dict[str, Any]:
    """Return what is counted of raw or valid events."""
    buckets = _buckets(folder, ["user_id", "item_id", "action"])
    return Counts.total(map(Counts.of, buckets)).figures()


def _buckets(folder: Path, columns: list[str]) -> Iterator[pa.Table]:
    """Yield columns of the events of a folder, a file after the other, however it is laid out."""
    for path in sorted(folder.glob("events*.parquet")):
        yield pq.read_table(path, columns=columns)


def _valid(lake: Lake, ref: ArtifactRef) -> ArtifactRef:
    """Count again how the rows that arrived were divided."""
    raw = _of_work(lake.references("raw_events", ref.partition).values(), ref.inputs[0])
    aside = lake.references("quarantined_events", ref.partition).values()
    quarantined = next((one for one in aside if one.inputs == ref.inputs), None)
    if raw is None or quarantined is None:
        return ref
    counts = {
        "quarantined": quarantined.rows,
        "duplicates": raw.rows - ref.rows - quarantined.rows,
    }
    told = {**counts, "rows": ref.rows, "rows_in": raw.rows}
    validation = {**ref.figures.get("validation", {}), **told}
    return replace(ref, figures={**ref.figures, **counts, "validation": validation})


def _tokens(lake: Lake, ref: ArtifactRef) -> ArtifactRef:
    """Count again by tokenizing what is left of the day, where that gives the same tokens."""
    valid = _of_work(lake.references("valid_events", ref.partition).values(), ref.inputs[0])
    if valid is None or ref.figures.get("events_in") == valid.rows:
        return ref
    config = json.loads((lake.path(ref) / CONFIG_FILE).read_bytes())
    with lake.storage.folders.staged() as staged, suppress(TrainingError):
        written = write_tokens(lake.path(valid), TokenizerConfig.from_json(config), staged)
        if digest_folder(staged) == ref.digest:
            figures = json.loads(json.dumps(dict(written.figures)))
            return replace(ref, rows=written.rows, figures=figures)
    # an earlier release laid events out, or merged them, in another way
    return replace(ref, figures={**ref.figures, "events_in": valid.rows})


def _num_tokens(folder: Path) -> int:
    buckets = [open_bucket(path) for path in folder.glob("tokens-*.arrow")]
    return sum(pc.sum(pc.list_value_length(one["tokens"])).as_py() or 0 for one in buckets)


def _of_work(refs: Iterable[ArtifactRef], logical_id: str) -> ArtifactRef | None:
    return next((ref for ref in refs if ref.logical_id == logical_id), None)
