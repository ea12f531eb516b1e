"""Whose rows a server has: one workspace's, since all name their rows alike.

Redis keeps the owner under ``marquee:workspace``, PostgreSQL in a table of that name, in the
schema. An SQLite file lies in its workspace and needs none.
"""

from typing import Any

from feast import FeatureStore

from feature_repo.errors import OnlineStoreError
from feature_repo.online_tables.opening import postgres_connection, redis_client

_REDIS_KEY = "marquee:workspace"


def claim(store: FeatureStore, workspace: str) -> None:
    """Let the online store be the workspace's; raises OnlineStoreError where it is another's."""
    kind = store.config.online_store.type
    if kind == "sqlite":
        return
    owner = _claim_redis(store, workspace) if kind == "redis" else _claim_schema(store, workspace)
    if owner != workspace:
        apart, note = {
            "redis": ("`,db=1` in MARQUEE_REDIS", f"the key {_REDIS_KEY}"),
            "postgres": ("another MARQUEE_POSTGRES_SCHEMA", "its table marquee_workspace"),
        }[kind]
        raise OnlineStoreError(
            f"want a {kind} store for workspace {workspace}, this one has the rows of workspace "
            f"{owner}, which would be overwritten: use {apart} here, or, if the other is no "
            f"longer in use, remove {note}"
        )


def release(store: FeatureStore) -> None:
    """Let another workspace use the online store, whose rows were removed."""
    kind = store.config.online_store.type
    if kind == "redis":
        redis_client(store).delete(_REDIS_KEY)
    if kind == "postgres":
        with postgres_connection(store) as connection:
            connection.execute("DROP TABLE IF EXISTS marquee_workspace, marquee_pushed")


def _claim_redis(store: FeatureStore, workspace: str) -> str:
    client: Any = redis_client(store)
    if client.get(_REDIS_KEY) is None:  # a full server refuses even a write that changes nothing
        client.set(_REDIS_KEY, workspace, nx=True)
    return str((client.get(_REDIS_KEY) or b"").decode())


def _claim_schema(store: FeatureStore, workspace: str) -> str:
    store.provider.update_infra(  # makes the schema
        project=store.project,
        tables_to_delete=[],
        tables_to_keep=[],
        entities_to_delete=[],
        entities_to_keep=[],
        partial=True,
    )
    with postgres_connection(store) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS marquee_workspace (id int PRIMARY KEY, owner text NOT NULL)"
        )
        connection.execute(
            "INSERT INTO marquee_workspace VALUES (1, %s) ON CONFLICT DO NOTHING", (workspace,)
        )
        found = connection.execute("SELECT owner FROM marquee_workspace").fetchone()
    assert found is not None
    return str(found[0])
