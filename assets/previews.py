"""The picture that each asset shows: drawn once per artifact, kept among the workspace's pages.

A preview is about a digest, so a skipped step shows the same one without drawing it again. The
orchestrator shows it on the asset's page where ``marquee ui`` serves it; the same picture is in the
metadata itself as well, a click away, for where nobody does.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets import plots, token_report, trends
from assets.columns import columns_of
from assets.drawing import Plot, read_plot
from assets.pages import page_url, pages_folder
from assets.presentation import interval, links
from assets.reporting import EMBEDDED
from assets.workspace import Workspace
from embedding_store.contracts import EmbeddingShard
from embedding_store.gates import Gate, published_record
from embedding_store.state import PublishedVersion
from embedding_store.transform import STABILISATION_FILE, Stabilisation
from embedding_store.versions import open_version
from lake.atomic import replace_file
from lake.days import start_of
from lake.refs import ArtifactRef
from training.events.artifacts import read_catalogue, scan_events
from training.tokens.activity import users_of
from training.tokens.measures import tokens_per_user

Vectors = np.ndarray[Any, np.dtype[np.float32]]
Days = np.ndarray[Any, np.dtype[np.int64]]
Preview = dict[str, Any]
"""Metadata of an asset: the picture, as a link that is shown at once and embedded."""

_METRICS = {"hr_at_10": "HR@10", "ndcg_at_10": "NDCG@10"}
_DAYS_SHOWN = 28


def of_table(workspace: Workspace, ref: ArtifactRef) -> Preview:
    """The columns of a table, for assets that have no picture."""
    return columns_of(workspace.lake.path(ref))


def of_events(workspace: Workspace, ref: ArtifactRef) -> Preview:
    """Events per hour and action."""

    def draw(folder: Path) -> Plot:
        schema, events = scan_events(folder)
        return plots.events_by_hour(events, schema=schema, day=start_of(ref.partition).date())

    return {**_kept(workspace, ref, draw), **of_table(workspace, ref)}


def of_valid_events(workspace: Workspace, ref: ArtifactRef, docs: Path) -> Preview:
    """The valid events per hour and action, and links to the day's data docs."""
    pages = [(page.stem, page_url(workspace.root, page)) for page in sorted(docs.glob("*.html"))]
    return {**of_events(workspace, ref), **({"data docs": links(pages)} if pages else {})}


def of_tokens(workspace: Workspace, ref: ArtifactRef, valid_events: ArtifactRef) -> Preview:
    """Tokens per user, what merging made of the events, and a link to the tokenizer's report."""

    def draw(folder: Path) -> Plot:
        lengths = tokens_per_user([folder])
        return plots.tokens_per_user(lengths, num_events=int(ref.figures["events_kept"]))

    report = token_report.of_tokens(workspace, ref, valid_events)
    return {
        **_kept(workspace, ref, draw),
        "report": links([("gaps, durations, lengths", page_url(workspace.root, report))]),
        **of_table(workspace, ref),
    }


def of_training(workspace: Workspace, ref: ArtifactRef) -> Preview:
    """Loss by step."""

    def draw(_: Path) -> Plot:
        curves = ref.figures["curves"]
        return plots.loss_curve(curves["loss"], curves.get("validation_loss", ()))

    return _kept(workspace, ref, draw)


def of_evaluation(workspace: Workspace, ref: ArtifactRef) -> Preview:
    """The served model over the last days, beside popularity."""

    def draw(_: Path) -> Plot:
        days = workspace.lake.refs("model_evaluation", through=ref.partition)[-_DAYS_SHOWN:]
        figures = ref.figures["next day"]
        metrics = {
            title: {
                name.replace("_", " "): _measured(days, name, metric) for name in figures["systems"]
            }
            for metric, title in _METRICS.items()
        }
        cut = f"{figures['counts']['targets']:,} targets on the newest day, full catalogue"
        return trends.quality_by_day(metrics, cut=cut, verdict=_verdict(figures))

    return _kept(workspace, ref, draw)


def _measured(days: Sequence[ArtifactRef], system: str, metric: str) -> list[trends.Measured]:
    return [
        trends.Measured(day=day.partition, **day.figures["next day"]["systems"][system][metric])
        for day in days
    ]


def _verdict(figures: Mapping[str, Any]) -> str:
    """Return the model's figure beside the better popularity's, with the paired difference."""
    hits = {name: one["hr_at_10"]["value"] for name, one in figures["systems"].items()}
    best = max((name for name in hits if name != "model"), key=lambda name: hits[name])
    paired = figures["differences"][f"model - {best}"]["hr_at_10"]
    return (
        f"HR@10 {hits['model']:.3f}, {best.replace('_', ' ')} {hits[best]:.3f}; difference "
        f"{interval(paired['value'], paired['low'], paired['high'], is_signed=True)}"
    )


def of_ranker(workspace: Workspace, ref: ArtifactRef) -> Preview:
    """The ranker's figures with and without embeddings, and the paired differences."""

    def draw(_: Path) -> Plot:
        figures = [
            trends.PairedFigure(
                metric=one["metric"].partition(",")[0].upper(),
                after=one["with_embeddings"],
                before=one["without_embeddings"],
                difference=one["difference"],
                lower=one["lower"],
                upper=one["upper"],
            )
            for one in ref.figures["comparisons"]
        ]
        return trends.paired_difference(
            figures, change="embeddings", cut="95 % interval over users"
        )

    return _kept(workspace, ref, draw)


def of_embeddings(workspace: Workspace, ref: ArtifactRef) -> Preview:
    """Norms and ages of users and items, and the items' cosine with the version before."""

    def draw(folder: Path) -> Plot:
        norms = {side: np.linalg.norm(_vectors(folder / side), axis=1) for side in ("user", "item")}
        reference = Stabilisation.read(folder / STABILISATION_FILE).reference
        before = (
            open_version(workspace.store.version_folder(reference)).items if reference else None
        )
        figures = plots.EmbeddingFigures(
            norms=norms,
            user_days=_days_since_active(
                workspace, ref.partition, _ids(folder / "user", "user_id")
            ),
            item_days=_days_since_release(
                workspace, ref.partition, _ids(folder / "item", "item_id")
            ),
            cosines=None if before is None else _cosines(folder / "item", before),
        )
        return plots.embeddings(figures)

    return {**_kept(workspace, ref, draw), **of_table(workspace, ref)}


def of_gates(workspace: Workspace, version: PublishedVersion) -> Preview:
    """Each gate's figure over the days, against its threshold."""
    state = workspace.store.state()
    shown = [one for one in state.live_versions(version.frame) if one.number < version.number][
        -_DAYS_SHOWN:
    ]
    judged = [
        (one.day, {gate.name: gate for gate in published_record(workspace.store, one).gates})
        for one in (*shown, version)
    ]
    gates = [
        trends.GateHistory(
            name=name,
            days=[day for day, _ in points],
            values=[figure for _, (figure, _) in points],
            thresholds=[threshold for _, (_, threshold) in points],
        )
        for name in judged[-1][1]
        if (points := _points(judged, name)) and points[-1][0] == version.day
    ]
    path = _picture_path(workspace, "published_version", version.day, version.digest)
    replace_file(path, trends.gates_by_day(gates, day=version.day).png)
    return _shown(workspace, path)


def _points(
    judged: Sequence[tuple[str, Mapping[str, Gate]]], name: str
) -> list[tuple[str, tuple[float, float]]]:
    """Return the days on which a gate had a figure, with it and its threshold."""
    return [
        (day, (gate.figure, gate.threshold))
        for day, gates in judged
        if (gate := gates.get(name)) and gate.figure is not None and gate.threshold is not None
    ]


def _days_since_active(workspace: Workspace, day: str, users: Sequence[str]) -> Days:
    """Return the days since each user's last token, of those with one in the active days."""
    tokens = workspace.lake.refs("interaction_tokens", through=day)
    left, days = set(users), list[int]()
    for ref in tokens[: -workspace.config.active_days - 1 : -1]:
        seen = left.intersection(users_of([workspace.lake.path(ref)]))
        age = (date.fromisoformat(day) - date.fromisoformat(ref.partition)).days
        days += [age] * len(seen)
        left -= seen
    return np.array(days, dtype=np.int64)


def _days_since_release(workspace: Workspace, day: str, items: Sequence[str]) -> Days:
    """Return the days since each item's release, where the catalogue knows it."""
    catalogue = read_catalogue(workspace.lake.path(workspace.lake.require("catalogue", day)))
    known = catalogue.filter(pc.is_in(catalogue["item_id"], value_set=pa.array(items)))
    released = known.group_by("item_id").aggregate([("release_date", "min")])["release_date_min"]
    days = [(date.fromisoformat(day) - one).days for one in released.to_pylist() if one]
    return np.array([one for one in days if one >= 0], dtype=np.int64)


def _ids(folder: Path, column: str) -> list[str]:
    table = pq.read_table(folder, columns=[column])
    return [str(one) for one in table[column].to_pylist()]


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


def _kept(workspace: Workspace, ref: ArtifactRef, draw: Callable[[Path], Plot]) -> Preview:
    path = _picture_path(workspace, ref.asset, ref.partition, ref.digest)
    if not path.exists():
        replace_file(path, draw(workspace.lake.path(ref)).png)
    return _shown(workspace, path)


def _picture_path(workspace: Workspace, asset: str, partition: str, digest: str) -> Path:
    folder = pages_folder(workspace.root) / "pictures" / asset
    return folder / f"{partition}-{digest[:16]}.png"


def _shown(workspace: Workspace, path: Path) -> Preview:
    plot = read_plot(path.read_bytes())
    linked = f"![{plot.title}]({page_url(workspace.root, path)})"
    return {
        "preview": dg.MetadataValue.md(linked),
        EMBEDDED: dg.MetadataValue.md(plot.markdown),
    }
