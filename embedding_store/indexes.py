"""Indexes beside published versions: built once, outside the version's digest, proven when read.

An index can be made again from its version at any time, so nothing depends on it: a reader that
finds none, or one that it cannot use, searches exactly and logs why.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from embedding_store.contracts import Float32
from embedding_store.errors import PublicationRefusedError, UnusableIndexError
from embedding_store.item_index import (
    LIBRARY,
    RECALL_AT,
    IndexManifest,
    IndexParameters,
    ItemIndex,
    Rows,
    grow,
    library_version,
    load,
    require_library,
)
from embedding_store.item_search import best_by_index, best_of_all
from embedding_store.store import EmbeddingStore
from embedding_store.versions import Version
from lake.digests import digest_bytes
from lake.errors import LakeError, MissingArtifactError

logger = logging.getLogger(__name__)

MANIFEST_FILE = "manifest.json"
GRAPH_FILE = "items.usearch"
PREFIX = "indexes"

MIN_RECALL = 0.99
"""Recall@100 that an index must have, as a mean over users."""

CHOSEN_RECALL = 0.995
"""Recall that the effort is chosen for: the users that measure it are others, and may have less."""

NUM_QUERIES = 400
"""Users of the probe: half choose the effort of searches, half measure what it gives."""

EXPANSIONS = (128, 192, 256, 384, 512, 768, 1024)
"""Efforts to choose from, the smallest that is enough; none of them took a tenth of exact search
over a million items."""

_NO_ROWS: Rows = np.zeros(0, dtype=np.int64)


def build_index(
    store: EmbeddingStore,
    version: Version,
    *,
    parameters: IndexParameters | None = None,
    threads: int = 0,
) -> IndexManifest:
    """Return the manifest of the version's index, built unless a usable one stands.

    Args:
        store: where the version is, and the index will be.
        version: whose items it is over; its users measure recall.
        parameters: of the graph; the effort of searches is chosen.
        threads: that build it; 0 for all there are.

    Raises:
        UnusableIndexError: the library is not installed.
        PublicationRefusedError: its recall is below ``MIN_RECALL``; then exact search stays.
    """
    try:
        standing, _ = _read(store, version)
        require_library(standing)
    except UnusableIndexError as error:
        logger.info("building an index of %s: %s", version.digest[:12], error)
    else:
        return standing
    installed = library_version()
    if installed is None:
        raise UnusableIndexError(f"{LIBRARY} is not installed: `pip install marquee[retrieval]`")
    vectors = version.items.vectors
    index = grow(vectors, parameters or IndexParameters(), threads=threads)
    index, recall, num_queries = _tuned(index, vectors, probe(version, NUM_QUERIES))
    if recall < MIN_RECALL:
        raise PublicationRefusedError(
            f"an index of {version.digest[:12]} finds {recall:.1%} of the best {RECALL_AT}, want "
            f"{MIN_RECALL:.0%}: exact search stays; more `connectivity` may help"
        )
    data = bytes(index.graph.save())
    manifest = IndexManifest(
        version=version.digest,
        library=LIBRARY,
        library_version=installed,
        parameters=index.parameters,
        num_items=len(vectors),
        dim=version.manifest.dim,
        recall_at_100=recall,
        num_queries=num_queries,
        sha256=digest_bytes(data),
    )
    name = _folder(version.digest)
    with store.folders.staged() as staged:
        (staged / GRAPH_FILE).write_bytes(data)
        (staged / MANIFEST_FILE).write_bytes(manifest.to_bytes())
        store.folders.remove(name)  # one that is damaged, or of another release
        store.folders.commit(staged, name)
    return manifest


def find_index(store: EmbeddingStore, version: Version) -> ItemIndex | None:
    """Return the version's index, proven, or None with the reason in the log."""
    try:
        manifest, data = _read(store, version)
        return load(data, manifest, version.items.vectors)
    except UnusableIndexError as error:
        logger.info("exact search answers for %s: %s", version.digest[:12], error)
        return None


def collect_indexes(store: EmbeddingStore, *, is_rehearsal: bool) -> Iterator[tuple[str, int]]:
    """Remove the indexes of versions that are gone or retired; yield each one's name and bytes."""
    live = {one.digest for one in store.state().versions.values() if not one.is_retired}
    for name in store.folders.names(PREFIX, depth=1):
        if name not in {_folder(digest) for digest in live}:
            yield name, store.folders.size(name)
            if not is_rehearsal:
                store.folders.remove(name)


def probe(version: Version, count: int) -> Float32:
    """Return vectors of at most ``count`` users, always the same of one version.

    They come from the first buckets: a bucket is a hash of the id, so that is a fair draw.
    """
    taken: list[Float32] = []
    for record in version.manifest.parts("user"):
        if (missing := count - sum(map(len, taken))) <= 0:
            break
        vectors = version.shard(record, "user").vectors
        if len(vectors):
            rows = np.linspace(0, len(vectors) - 1, min(missing, len(vectors)), dtype=np.int64)
            taken.append(vectors[rows])
    return np.vstack(taken)


def recall_of(index: ItemIndex, vectors: Float32, queries: Float32) -> float:
    """Return the mean share of the exact best that searches by the index find."""
    return float(np.mean(_recalls(index, vectors, queries, _truth(vectors, queries))))


def _tuned(index: ItemIndex, vectors: Float32, queries: Float32) -> tuple[ItemIndex, float, int]:
    """Return the index with the least effort that is enough, its recall, and on how many users."""
    truth = _truth(vectors, queries)
    chosen, measured = slice(0, None, 2), slice(1 if len(queries) > 1 else 0, None, 2)
    for expansion in EXPANSIONS:
        index.graph.expansion_search = expansion
        if np.mean(_recalls(index, vectors, queries[chosen], truth[chosen])) >= CHOSEN_RECALL:
            break
    recalls = _recalls(index, vectors, queries[measured], truth[measured])
    parameters = replace(index.parameters, expansion_search=expansion)
    return replace(index, parameters=parameters), float(np.mean(recalls)), len(recalls)


def _truth(vectors: Float32, queries: Float32) -> list[set[int]]:
    found = (best_of_all(vectors, query, RECALL_AT, _NO_ROWS) for query in queries)
    return [set(best.rows.tolist()) for best in found]


def _recalls(
    index: ItemIndex, vectors: Float32, queries: Float32, truth: list[set[int]]
) -> list[float]:
    """Return each query's share; a query that the index passes to exact search has all."""
    recalls = []
    for query, want in zip(queries, truth, strict=True):
        found = best_by_index(index, vectors, query, RECALL_AT, _NO_ROWS)
        got = want if found is None else set(found.rows.tolist())
        recalls.append(len(got & want) / len(want))
    return recalls


def _read(store: EmbeddingStore, version: Version) -> tuple[IndexManifest, bytes]:
    """Return an index's manifest and proven bytes; raises UnusableIndexError."""
    try:
        folder = store.folders.path(_folder(version.digest))
        manifest = IndexManifest.from_bytes((folder / MANIFEST_FILE).read_bytes())
        data = (folder / GRAPH_FILE).read_bytes()
    except MissingArtifactError as error:
        raise UnusableIndexError("it has no index: `marquee index` builds one") from error
    except (LakeError, OSError) as error:
        raise UnusableIndexError(f"its index cannot be read ({error})") from error
    if manifest.version != version.digest or digest_bytes(data) != manifest.sha256:
        raise UnusableIndexError(f"{folder} is damaged: `marquee index` builds another")
    return manifest, data


def _folder(digest: str) -> str:
    return f"{PREFIX}/{digest}"
