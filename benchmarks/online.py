"""Online rows: how fast they are written and read, beside Feast's own ways, in one run.

    python -m benchmarks.online
    python -m benchmarks.online --store redis --users 200_000

One version of random vectors is published and projected to the online store; Redis and PostgreSQL
are real servers, started from pip on this machine. Written: our writer, checksums and read-back
included; Feast's ``online_write_batch`` with messages already made; and ``feast materialize`` from
one Parquet file, both with ``--feast-users`` of the same rows, since they take that long. Read: 1,
100 and 1,000 users at random, warm, by a pinned consumer of ours, by Feast's
``get_online_features``, by Feast's HTTP feature server on this machine (one worker, a connection
that is kept), and by the plainest code that asks the same store for the same values and decodes
the vectors.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import requests
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import FloatList, Value
from feast.types import Array, Float32, String

from benchmarks import publication
from embedding_store import EmbeddingStore
from embedding_store.contracts import strings
from feature_repo.folder import FeastFolder, OnlineKind
from feature_repo.lookup import open_features
from feature_repo.online import OnlineRows
from feature_repo.online_tables.layout import layout_of
from feature_repo.online_tables.opening import open_table
from feature_repo.projection import reconcile
from feature_repo.registry import open_plainly
from feature_repo.served import read_state, served_frames, service_name
from tests.online_servers import postgres, valkey

ASKED = (1, 100, 1_000)
DIM = 64
_AT = datetime(2026, 1, 1, tzinfo=UTC)


@contextmanager
def server(kind: OnlineKind, folder: Path) -> Iterator[None]:
    """Run the store's server and lead Feast to it."""
    if kind == "sqlite":
        yield
        return
    with valkey() if kind == "redis" else postgres(folder) as environment:
        os.environ.update(environment)
        yield


def projected(kind: OnlineKind, root: Path, users: int) -> tuple[FeatureStore, OnlineRows]:
    """Publish a version and project it; return the store and its users' rows."""
    publication.make(root, users=users, items=1_000, dim=DIM, num_buckets=16)
    publication.publish(root, 0)
    folder = FeastFolder.of(root)
    folder.prepare(kind)
    reconcile(root)
    store = open_plainly(folder)
    frames = served_frames(EmbeddingStore(folder.store), read_state(EmbeddingStore(folder.store)))
    version = frames.frames[0].versions[0]
    view = store.get_feature_view(version.view("user"))
    return store, OnlineRows(store=store, version=version, side="user", view=view)


def written(store: FeatureStore, rows: OnlineRows, root: Path, feast_users: int) -> None:
    """Print how many rows a second each writer brings online."""
    table = open_table(store, rows.view.name, layout_of("user", rows.view.tags))
    table.keep_only(set())
    started = time.perf_counter()
    count = rows.complete()
    ours = count / (time.perf_counter() - started)

    ids, vectors = some_users(rows, feast_users)
    made = [
        (
            EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=one)]),
            {
                "embedding": Value(float_list_val=FloatList(val=vector)),
                "version": Value(string_val="v1"),
            },
            _AT,
            None,
        )
        for one, vector in zip(ids, vectors.tolist(), strict=True)
    ]
    view = materialized_view(store, root, ids, vectors)
    started = time.perf_counter()
    store.provider.online_write_batch(store.config, view, made, None)
    batch = len(ids) / (time.perf_counter() - started)
    started = time.perf_counter()
    store.materialize(_AT - timedelta(days=1), _AT + timedelta(days=1), [view.name])
    whole = len(ids) / (time.perf_counter() - started)
    print("\n| writer | rows | rows/s | of feast materialize |")
    print("|---|---:|---:|---:|")
    print(f"| ours, read back | {count:,} | {ours:,.0f} | {ours / whole:.1f} |")
    print(f"| Feast's online_write_batch | {len(ids):,} | {batch:,.0f} | {batch / whole:.1f} |")
    print(f"| feast materialize | {len(ids):,} | {whole:,.0f} | 1 |", flush=True)


def some_users(rows: OnlineRows, number: int) -> tuple[list[str], Any]:
    """Return the first users of the version with their vectors."""
    ids: list[str] = []
    vectors = []
    for record in rows.version.manifest.parts("user"):
        shard = rows.version.files.shard(record, "user")
        ids += strings(shard.ids)
        vectors.append(shard.vectors)
        if len(ids) >= number:
            break
    return ids[:number], np.concatenate(vectors)[:number]


def materialized_view(store: FeatureStore, root: Path, ids: list[str], vectors: Any) -> FeatureView:
    """Apply a view over one Parquet file of the rows, and return it."""
    path = root / "materialize.parquet"
    flat = pa.array(vectors.reshape(-1), pa.float32())
    columns = {
        "user_id": ids,
        "embedding": pa.ListArray.from_arrays(np.arange(0, len(flat) + 1, DIM, np.int32), flat),
        "version": ["v1"] * len(ids),
        "event_timestamp": pa.array([_AT] * len(ids), pa.timestamp("us", tz="UTC")),
    }
    pq.write_table(pa.table(columns), path)
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    view = FeatureView(
        name="materialized",
        entities=[user],
        schema=[
            Field(name="user_id", dtype=String),
            Field(name="embedding", dtype=Array(Float32)),
            Field(name="version", dtype=String),
        ],
        ttl=timedelta(0),
        source=FileSource(path=str(path), timestamp_field="event_timestamp"),
        online=True,
    )
    store.apply([user, view])
    return view


def read(store: FeatureStore, rows: OnlineRows, root: Path, rounds: int) -> None:
    """Print how long each reader takes for some users."""
    features = open_features(root / "feast").pinned()
    ids, _ = some_users(rows, rows.version.manifest.rows("user"))
    layout = layout_of("user", rows.view.tags)
    raw = plainest(store, rows.view.name)
    refs = [f"{rows.view.name}:{name}" for name in ("embedding", "version")]

    def through_feast(some: list[str]) -> Any:
        answer = store.get_online_features(refs, [{"user_id": one} for one in some]).to_dict()
        return np.array(answer["embedding"], dtype=np.float32)

    def raw_bytes(some: list[str]) -> Any:
        return layout.vectors(raw(layout.keys(some)))

    readers: dict[str, Callable[[list[str]], Any]] = {
        "plainest code": raw_bytes,
        "ours": lambda some: features.users(some).vectors,
        "Feast": through_feast,
    }
    with http_server(root / "feast") as over_http:
        timed({**readers, "Feast's HTTP server": over_http}, ids, rounds)


def timed(readers: Mapping[str, Callable[[list[str]], Any]], ids: list[str], rounds: int) -> None:
    """Print p50 and p99 of every reader; the first one is what the others are compared with."""
    print("\n| users | reader | p50 ms | p99 ms | of the plainest p50 |")
    print("|---:|---|---:|---:|---:|")
    draw = np.random.default_rng(0)
    for number in ASKED:
        took: dict[str, list[float]] = {name: [] for name in readers}
        for turn in range(rounds + 3):
            some = [ids[row] for row in draw.choice(len(ids), number, replace=False)]
            answers = []
            for name, reader in readers.items():  # side by side, so that noise meets all
                started = time.perf_counter()
                answers.append(reader(some))
                if turn >= 3:
                    took[name].append((time.perf_counter() - started) * 1e3)
            assert all(np.array_equal(answers[0], other) for other in answers[1:])
        base = statistics.median(took["plainest code"])
        for name, times in took.items():
            p50, p99 = np.percentile(times, [50, 99])
            print(f"| {number:,} | {name} | {p50:.3f} | {p99:.3f} | {p50 / base:.2f} |", flush=True)


@contextmanager
def http_server(folder: Path) -> Iterator[Callable[[list[str]], Any]]:
    """Run Feast's feature server over the folder; yield what asks it for users' vectors."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    feast = Path(sys.executable).with_name("feast")
    command = [feast, "-c", folder, "serve", "-p", str(port), "--no-access-log"]
    serving = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        with requests.Session() as session:
            wait_for(session, f"{url}/health", serving)

            def ask(some: list[str]) -> Any:
                asked = {
                    "feature_service": service_name(1, "stable", "user"),
                    "entities": {"user_id": some},
                }
                answer = session.post(f"{url}/get-online-features", json=asked, timeout=60)
                answer.raise_for_status()
                told = answer.json()
                column = told["metadata"]["feature_names"].index("embedding")
                return np.array(told["results"][column]["values"], dtype=np.float32)

            yield ask
    finally:
        serving.terminate()
        serving.wait()


def wait_for(session: requests.Session, url: str, serving: subprocess.Popen[bytes]) -> None:
    """Return when the server answers; it imports all of Feast first."""
    for _ in range(600):
        if serving.poll() is not None:
            raise RuntimeError(f"feast serve ended with status {serving.returncode}")
        try:
            if session.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise RuntimeError(f"{url} did not answer in a minute")


def plainest(store: FeatureStore, view: str) -> Callable[[list[bytes]], list[bytes]]:
    """Return code that asks the store for keys' embeddings and versions, and for nothing else."""
    config, table = store.config.online_store, f"marquee_{view}"
    if config.type == "sqlite":
        import sqlite3

        connection = sqlite3.connect(Path(store.repo_path) / config.path)

        def of_sqlite(keys: list[bytes]) -> list[bytes]:
            query = (
                f'SELECT entity_key, feature_name, value FROM "{table}" '
                f"WHERE entity_key IN ({','.join('?' * len(keys))})"
            )
            rows = connection.execute(query, keys).fetchall()
            found = {key: value for key, name, value in rows if name == "embedding"}
            return [found[key] for key in keys]

        return of_sqlite
    if config.type == "redis":
        import mmh3
        import redis

        host, port = config.connection_string.split(":")
        client = redis.Redis(host=host, port=int(port))
        names = (f"{view}:embedding", f"{view}:version")
        fields = [mmh3.hash(name, signed=False).to_bytes(4, "little") for name in names]

        def of_redis(keys: list[bytes]) -> list[bytes]:
            with client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.hmget(key + b"marquee", fields)
                return [embedding for embedding, _ in pipe.execute()]

        return of_redis
    import psycopg

    remote = psycopg.connect(
        host=config.host, user=config.user, dbname=config.database, autocommit=True
    )

    def of_postgres(keys: list[bytes]) -> list[bytes]:
        query = f'SELECT entity_key, feature_name, value FROM "{table}" WHERE entity_key = ANY(%s)'
        rows = remote.execute(query, (keys,), binary=True).fetchall()
        found = {key: value for key, name, value in rows if name == "embedding"}
        return [found[key] for key in keys]

    return of_postgres


def main() -> None:
    """Measure each store that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", nargs="+", default=["sqlite", "redis", "postgres"])
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--feast-users", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=200)
    given = parser.parse_args()
    for kind in given.store:
        root = Path(tempfile.mkdtemp(prefix="online"))
        try:
            with server(kind, root):
                print(f"\n## {kind}")
                store, rows = projected(kind, root / "world", given.users)
                read(store, rows, root / "world", given.rounds)
                written(store, rows, root / "world", given.feast_users)
        finally:
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
