"""The picture that each asset shows: drawn once per artifact, kept beside the lake.

A preview is about a digest, so a skipped step shows the same one without drawing it again.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets import plots
from assets.workspace import Workspace
from embedding_store.contracts import EmbeddingShard
from embedding_store.gates import GateRecord
from embedding_store.transform import STABILISATION_FILE, Stabilisation
from embedding_store.versions import open_version
from lake.atomic import replace_file
from lake.days import start_of
from lake.refs import ArtifactRef
from training.events.artifacts import read_events
from training.tokens.partial import open_bucket

Vectors = np.ndarray[Any, np.dtype[np.float32]]
Preview = dict[str, Any]
"""Metadata of an asset: the picture under the key ``preview``."""


def of_events(workspace: Workspace, ref: ArtifactRef) -> Preview:
    """Events per hour and action."""

    def draw(folder: Path) -> plots.Plot:
        schema, events = read_events(folder)
        of_day = events.filter(pc.is_valid(events["occurred_at"]))
        day = start_of(ref.partition).date()
        return plots.events_by_hour(of_day, schema=schema, day=day)

    return _kept(workspace, ref, draw)


def of_tokens(workspace: Workspace, ref: ArtifactRef) -> Preview:
    """Tokens per user, and what merging made of the events."""

    def draw(folder: Path) -> plots.Plot:
        lengths = [
            pc.list_value_length(open_bucket(path)["tokens"]).to_numpy()
            for path in sorted(folder.glob("tokens-*.arrow"))
        ]
        return plots.tokens_per_user(
            np.concatenate(lengths), num_events=int(ref.figures["events_kept"])
        )

    return _kept(workspace, ref, draw)


def of_training(workspace: Workspace, ref: ArtifactRef) -> Preview:
    """Loss by step."""

    def draw(_: Path) -> plots.Plot:
        curves = ref.figures["curves"]
        return plots.loss_curve(curves["loss"], curves.get("validation_loss", ()))

    return _kept(workspace, ref, draw)


def of_evaluation(workspace: Workspace, ref: ArtifactRef) -> Preview:
    """Yesterday's model on this day, beside popularity."""

    def draw(_: Path) -> plots.Plot:
        figures = ref.figures["next day"]
        bars = [
            plots.QualityBar(
                name=name,
                **metrics["hr_at_10"],
            )
            for name, metrics in figures["systems"].items()
        ]
        cut = f"{figures['counts']['targets']:,} targets of {ref.partition}, full catalogue"
        return plots.quality_bars(bars, metric="HR@10", cut=cut)

    return _kept(workspace, ref, draw)


def of_ranker(workspace: Workspace, ref: ArtifactRef) -> Preview:
    """The ranker's AUC with and without embeddings."""

    def draw(_: Path) -> plots.Plot:
        first = ref.figures["comparisons"][0]
        base = first["without_embeddings"]
        bars = [
            plots.QualityBar(
                name="with embeddings",
                value=first["with_embeddings"],
                low=base + first["lower"],
                high=base + first["upper"],
            ),
            plots.QualityBar(name="without", value=base, low=base, high=base),
        ]
        return plots.quality_bars(
            bars, metric=first["metric"], cut="interval of the paired difference"
        )

    return _kept(workspace, ref, draw)


def of_embeddings(workspace: Workspace, ref: ArtifactRef) -> Preview:
    """Norms of the users' and items' vectors, and the items' cosine with the version before."""

    def draw(folder: Path) -> plots.Plot:
        norms = {side: np.linalg.norm(_vectors(folder / side), axis=1) for side in ("user", "item")}
        reference = Stabilisation.read(folder / STABILISATION_FILE).reference
        if reference is None:
            return plots.embedding_norms(norms)
        before = open_version(workspace.store.version_folder(reference)).items
        return plots.embedding_norms(norms, _cosines(folder / "item", before))

    return _kept(workspace, ref, draw)


def of_gates(record: GateRecord) -> Preview:
    """Gate figures against their thresholds."""
    figures = [
        plots.GateFigure(name=gate.name, value=gate.figure, threshold=gate.threshold)
        for gate in record.gates
        if gate.figure is not None and gate.threshold is not None
    ]
    return {"preview": dg.MetadataValue.md(plots.gate_figures(figures).markdown)}


def _vectors(folder: Path) -> Vectors:
    column = pq.read_table(folder, columns=["embedding"])["embedding"].combine_chunks()
    rows: np.ndarray[Any, np.dtype[Any]] = column.to_numpy(zero_copy_only=False)
    return np.stack(list(rows))


def _cosines(folder: Path, before: EmbeddingShard) -> Vectors:
    """Return the cosine of every item that both hold, float32[common]."""
    ids = pq.read_table(folder, columns=["item_id"])["item_id"].combine_chunks()
    places = pc.index_in(ids, value_set=before.ids)
    is_common = pc.is_valid(places).to_numpy(zero_copy_only=False)
    now = _vectors(folder)[is_common]
    then = before.vectors[pc.drop_null(places).to_numpy(zero_copy_only=False)]
    lengths = np.linalg.norm(now, axis=1) * np.linalg.norm(then, axis=1)
    cosines: Vectors = (now * then).sum(axis=1) / lengths
    return cosines


def _kept(workspace: Workspace, ref: ArtifactRef, draw: Callable[[Path], plots.Plot]) -> Preview:
    path = workspace.root / "previews" / ref.asset / f"{ref.partition}-{ref.digest[:16]}.md"
    if not path.exists():
        replace_file(path, draw(workspace.lake.path(ref)).markdown.encode())
    return {"preview": dg.MetadataValue.md(path.read_text())}
