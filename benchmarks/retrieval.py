"""The best items for a user: exactly, in batches, and by an index, with its recall.

    python -m benchmarks.retrieval
    python -m benchmarks.retrieval --items 200_000 --kind gaussian
    python -m benchmarks.retrieval --store .marquee/kuairand/store

``model`` makes vectors as a model's are; its figures are those of a version that was trained on
KuaiRand (7,583 items, 26,815 users): singular values that fall to a tenth by the ninth and to a
fiftieth by the thirty-third, the longest 5 % of items 2.7 times as long as the shortest 5 %, biases
of items that explain 70 % of the variance of a user's scores. Items lie in clusters whose sizes
follow Zipf's law, a user between three of them. ``gaussian`` draws every number alone: no structure
that an index could use, which no trained model has. ``--store`` takes a version's items and users;
items beyond its own are copies, moved by two fifths of the items' own spread.

Latencies are of single queries by one thread, exact search and the index in turns, so what else the
machine does slows both; ratios are of medians of one run.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from embedding_store.client import EmbeddingClient
from embedding_store.contracts import Float32
from embedding_store.indexes import EXPANSIONS, probe, recall_of
from embedding_store.item_index import (
    LONGEST,
    RECALL_AT,
    IndexManifest,
    IndexParameters,
    Rows,
    grow,
    library_version,
    load,
)
from embedding_store.item_search import best_by_index, best_of_all, best_of_blocks

SEED = 20260101
NUM_QUERIES = 200
NONE: Rows = np.zeros(0, dtype=np.int64)


def model_vectors(items: int, dim: int) -> tuple[Float32, Float32]:
    """Return (float32[items, dim], float32[queries, dim]) as a model's are."""
    draw, width = np.random.default_rng(SEED), dim - 1
    scales = ((1 + np.arange(width) / 4) ** -1.8).astype(np.float32)
    num_clusters = max(10, items // 500)
    centres = draw.standard_normal((num_clusters, width), dtype=np.float32) * scales
    share = draw.zipf(1.3, num_clusters).clip(max=1000) * 1.0
    share /= share.sum()

    def around(middle: Float32, spread: float) -> Float32:
        noise = draw.standard_normal(middle.shape, dtype=np.float32)
        return (middle + np.float32(spread) * noise * scales).astype(np.float32)

    content = around(centres[draw.choice(num_clusters, items, p=share)], 0.6)
    content *= np.exp(0.3 * draw.standard_normal((items, 1), dtype=np.float32))
    taste = draw.choice(num_clusters, (NUM_QUERIES, 3), p=share)
    users = around(centres[taste].mean(axis=1), 0.4)
    content *= np.float32(1.4 / (users @ content[:20_000].T).std())
    bias = np.float32(2.1) * draw.standard_normal((items, 1), dtype=np.float32)
    ones = np.ones((NUM_QUERIES, 1), dtype=np.float32)
    return np.hstack([content, bias]), np.hstack([users, ones])


def gaussian_vectors(items: int, dim: int) -> tuple[Float32, Float32]:
    """Return the same shapes without any structure."""
    draw = np.random.default_rng(SEED)
    vectors = draw.standard_normal((items, dim), dtype=np.float32)
    return vectors, draw.standard_normal((NUM_QUERIES, dim), dtype=np.float32)


def stored_vectors(root: Path, items: int) -> tuple[Float32, Float32]:
    """Return the vectors of the stable version of a store, and moved copies of its items."""
    version, draw = EmbeddingClient(root).pin().version, np.random.default_rng(SEED)
    own = version.items.vectors
    spread = np.linalg.cholesky(np.cov(own.T) + 1e-6 * np.eye(own.shape[1])).astype(np.float32)
    more = max(0, items - len(own))
    noise = draw.standard_normal((more, own.shape[1]), dtype=np.float32) @ spread.T
    copies = own[draw.integers(0, len(own), more)] + np.float32(0.4) * noise
    return np.vstack([own, copies]), probe(version, NUM_QUERIES)


def milliseconds(search: Callable[[], object]) -> float:
    """Return what one query takes."""
    began = time.perf_counter()
    search()
    return (time.perf_counter() - began) * 1e3


def spread(times: list[float]) -> str:
    """Return the median with the quartiles."""
    low, middle, high = statistics.quantiles(times, n=4)
    return f"{middle:8.2f} ({low:.2f}-{high:.2f})"


def show_machine() -> None:
    """Print where and with what this runs."""
    names = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    print(f"{names[0].split(':')[1].strip()}, {os.cpu_count()} cores, ", end="")
    print(f"load average {os.getloadavg()[0]:.1f} at the start")
    print(
        f"Python {platform.python_version()}, numpy {np.__version__}, usearch {library_version()}"
    )
    print("threads of BLAS:", os.environ.get("OPENBLAS_NUM_THREADS", "as many as it wants"))


def measure(vectors: Float32, queries: Float32, threads: int) -> None:
    """Print a row for exact search, for batches, and for each effort of the index."""
    print(f"{len(vectors):,} items, {vectors.shape[1]} dimensions, {len(queries)} queries")
    length = np.linalg.norm(vectors, axis=1)
    longest = np.argsort(-length)[: len(vectors) // LONGEST]
    norms = np.percentile(length, [5, 50, 95, 100]).round(2)
    print("lengths at 5, 50, 95, 100 %:", *norms.tolist())
    began = time.perf_counter()
    best_of_blocks(vectors, queries, RECALL_AT)
    print(f"exact, in batches: {(time.perf_counter() - began) * 1e3 / len(queries):.2f} ms a query")
    best = [best_of_all(vectors, query, RECALL_AT, NONE).rows for query in queries]
    print(f"of the best, {np.isin(best, longest).mean():.1%} are among the longest hundredth")
    began, cpu = time.perf_counter(), time.process_time()
    index = grow(vectors, IndexParameters(), threads=threads)
    print(
        f"built in {time.perf_counter() - began:.0f} s, processor {time.process_time() - cpu:.0f} s"
    )
    data = bytes(index.graph.save())
    manifest = IndexManifest(
        version="",
        library="usearch",
        library_version=str(library_version()),
        parameters=index.parameters,
        num_items=len(vectors),
        dim=vectors.shape[1],
        recall_at_100=1,
        num_queries=0,
        sha256="",
    )
    began = time.perf_counter()
    index = load(data, manifest, vectors)
    print(f"file {len(data) / 1e6:.1f} MB, loaded in {time.perf_counter() - began:.1f} s")
    del data
    print("effort  recall@100  index ms (quartiles)  exact ms (quartiles)  times as fast")
    for expansion in EXPANSIONS:
        index.graph.expansion_search = expansion
        effort = replace(index, parameters=replace(index.parameters, expansion_search=expansion))
        exact: list[float] = []
        by_index: list[float] = []
        for query in queries[:60]:
            exact.append(milliseconds(partial(best_of_all, vectors, query, RECALL_AT, NONE)))
            search = partial(best_by_index, effort, vectors, query, RECALL_AT, NONE)
            by_index.append(milliseconds(search))
        ratio = statistics.median(exact) / statistics.median(by_index)
        recall = recall_of(effort, vectors, queries)
        print(
            f"{expansion:6} {recall:10.4f} {spread(by_index):>24} {spread(exact):>22} {ratio:8.1f}",
            flush=True,
        )


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--kind", choices=["model", "gaussian"], default="model")
    parser.add_argument("--store", type=Path, help="measure the stable version of this store")
    parser.add_argument("--threads", type=int, default=0, help="that build; 0 for all there are")
    asked = parser.parse_args()
    show_machine()
    if asked.store:
        vectors, queries = stored_vectors(asked.store, asked.items)
    else:
        make = {"model": model_vectors, "gaussian": gaussian_vectors}[asked.kind]
        vectors, queries = make(asked.items, asked.dim)
    measure(vectors, queries, asked.threads)


if __name__ == "__main__":
    main()
