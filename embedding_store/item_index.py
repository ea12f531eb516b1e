"""An approximate index over a version's items: a graph that names candidates, nothing more.

::

    indexes/<digest of the version>/manifest.json  items.usearch

Scores and order come from the version's own vectors, so a poor index can cost recall and never show
a wrong score. The graph's distance has to be a metric, or most of it cannot be reached: on vectors
of different lengths the inner product alone finds two thirds of the best, whatever the effort
(ADR 14). So each item x gets one more dimension that makes all of them equally long, which a query
has as zero: ``[x / m, sqrt(1 - |x|^2 / m^2)]`` with m the longest item's length. Inner products
with a query then have the order of the scores, and so have cosines and distances.

A few very long items would press all others together at the pole of that sphere, where no graph
tells them apart. The longest hundredth therefore stays outside and is looked at for every query.
Source: Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean transformation
for inner-product spaces", RecSys 2014, section 3; the graph: Malkov and Yashunin, TPAMI 2018.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from embedding_store.contracts import Float32
from embedding_store.errors import UnusableIndexError
from lake.sealed import json_object

Rows = npt.NDArray[np.int64]

FORMAT_VERSION = 1
LIBRARY = "usearch"
RECALL_AT = 100
"""How many best items recall is measured over."""

LONGEST = 100
"""One item of so many is left out of the graph, the longest first. Of 50,000 items whose lengths
vary as a model's do, effort 128 found 99.8 % with all in the graph and 99.99 % so."""

_ROWS_AT_ONCE = 1 << 17
"""Items that are lifted at a time, some 30 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexParameters:
    """What a graph is built and searched with; the names are the paper's M and ef."""

    connectivity: int = 16
    """Neighbours of an item on each level; twice as many on the lowest."""

    expansion_add: int = 128
    """Candidates that are held while an item's neighbours are looked for."""

    expansion_search: int = 128
    """Candidates that are held while a query is answered."""

    num_longest: int = 0
    """The longest items, which are not in the graph; chosen when it is built."""

    dtype: str = "f16"
    """Of the graph's own vectors; scores are computed in float32 from the version's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexManifest:
    """The content of an index's ``manifest.json``."""

    version: str
    """Digest of the version that it is of."""
    library: str
    library_version: str
    parameters: IndexParameters
    num_items: int
    dim: int
    recall_at_100: float
    """Mean over queries that the parameters were not chosen on, against exact search."""
    num_queries: int
    """Users of the version that recall is measured with."""
    sha256: str
    """Of the graph's file."""

    def to_bytes(self) -> bytes:
        """Return the file's bytes."""
        content = {"format_version": FORMAT_VERSION, **asdict(self)}
        return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "IndexManifest":
        """Read what ``to_bytes`` wrote; raises UnusableIndexError."""
        try:
            fields: dict[str, Any] = json_object(data)
            if (version := fields.pop("format_version")) != FORMAT_VERSION:
                raise UnusableIndexError(f"want format {FORMAT_VERSION}, got {version!r}")
            parameters: Mapping[str, Any] = fields.pop("parameters")
            return cls(parameters=IndexParameters(**parameters), **fields)
        except (ValueError, TypeError, KeyError) as error:
            raise UnusableIndexError(f"its manifest cannot be read ({error})") from error


@dataclass(frozen=True)
class ItemIndex:
    """A graph over the items of one version, in memory; may be shared between threads."""

    graph: Any
    """``usearch.index.Index``; its keys are the rows of the version's items."""
    long_rows: Rows
    """Rows of the items outside the graph, ascending."""
    long_vectors: Float32
    """Their vectors, float32[longest, dim], in one piece."""
    parameters: IndexParameters
    recall_at_100: float | None = None
    """As measured when it was built; None before."""
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)
    # usearch 2.26 lends every caller from Python the same working memory of its first thread

    def candidates(self, query: Float32, count: int) -> Rows:
        """Return rows, ascending: ``count`` of the graph, and as many of the longest items."""
        lifted = np.zeros(len(query) + 1, dtype=np.float32)
        lifted[:-1] = query / np.maximum(np.linalg.norm(query), np.finfo(np.float32).tiny)
        with self._lock:
            found = self.graph.search(lifted, count, threads=1).keys
        rows = self.long_rows
        if count < len(rows):
            rows = rows[np.argpartition(self.long_vectors @ query, -count)[-count:]]
        return np.sort(np.concatenate([found.astype(np.int64), rows]))


def library_version() -> str | None:
    """Return the version of the library that is installed, or None."""
    try:
        import usearch
    except ImportError:
        return None
    return str(usearch.__version__)


def grow(vectors: Float32, parameters: IndexParameters, *, threads: int = 0) -> ItemIndex:
    """Return an index over float32[items, dim]; several threads build another one every time."""
    parameters = replace(parameters, num_longest=len(vectors) // LONGEST)
    graph = _empty_graph(vectors.shape[1], parameters)
    longest = _longest(vectors, parameters.num_longest)
    rest = np.delete(np.arange(len(vectors)), longest)
    length = float(np.linalg.norm(vectors[rest], axis=1).max())
    for start in range(0, len(rest), _ROWS_AT_ONCE):
        rows = rest[start : start + _ROWS_AT_ONCE]
        graph.add(rows, _lifted(vectors[rows], length), threads=threads)
    return ItemIndex(graph, longest, vectors[longest], parameters)


def load(data: bytes, manifest: IndexManifest, vectors: Float32) -> ItemIndex:
    """Return the index of the items in ``data``, which the manifest's sha256 has proven.

    Raises UnusableIndexError where the library is missing, or older than the one that wrote it.
    """
    require_library(manifest)
    graph = _empty_graph(manifest.dim, manifest.parameters)
    try:
        graph.load(data)
    except (RuntimeError, ValueError) as error:
        raise UnusableIndexError(f"{LIBRARY} cannot load it ({error})") from error
    longest = _longest(vectors, manifest.parameters.num_longest)
    if not len(graph) + len(longest) == manifest.num_items == len(vectors):
        raise UnusableIndexError(
            f"want {len(vectors)} items, got {len(graph)} beside {len(longest)} long ones"
        )
    recall = manifest.recall_at_100
    return ItemIndex(graph, longest, vectors[longest], manifest.parameters, recall)


def require_library(manifest: IndexManifest) -> None:
    """Raise UnusableIndexError unless the library that is installed reads such an index."""
    installed = library_version()
    if installed is None:
        raise UnusableIndexError(f"{LIBRARY} is not installed: `pip install marquee[retrieval]`")
    written = manifest.library_version
    is_known = manifest.library == LIBRARY and _numbers(written)[:1] == _numbers(installed)[:1]
    if not is_known or _numbers(written) > _numbers(installed):
        raise UnusableIndexError(
            f"{manifest.library} {written} wrote it, {LIBRARY} {installed} is installed"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _empty_graph(dim: int, parameters: IndexParameters) -> Any:
    from usearch.index import Index

    return Index(
        ndim=dim + 1,
        metric="ip",
        dtype=parameters.dtype,
        connectivity=parameters.connectivity,
        expansion_add=parameters.expansion_add,
        expansion_search=parameters.expansion_search,
    )


def _longest(vectors: Float32, count: int) -> Rows:
    """Return the rows of the ``count`` longest vectors, ascending; of equal ones the first."""
    order = np.argsort(-np.linalg.norm(vectors, axis=1), kind="stable")
    return np.sort(order[:count])


def _lifted(vectors: Float32, longest: float) -> Float32:
    """Return float32[rows, dim + 1], each of length 1: the inner products keep their order."""
    scaled = vectors / np.float32(longest)
    squares = np.square(scaled, dtype=np.float64).sum(axis=1, keepdims=True)
    return np.hstack([scaled, np.sqrt(np.maximum(0.0, 1.0 - squares))], dtype=np.float32)
