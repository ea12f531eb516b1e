"""The online rows of a view, in whichever store the workspace's Feast folder names.

Clients are Feast's own, made as it makes them: clusters, sentinels and TLS work as they do there.
"""

from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast import FeatureStore
from feast.infra.online_stores.online_store import OnlineStore

from feature_repo.errors import OnlineStoreError
from feature_repo.online_tables.layout import RowLayout
from feature_repo.online_tables.table import OnlineTable

if TYPE_CHECKING:
    from psycopg import Connection


def open_table(store: FeatureStore, view: str, layout: RowLayout) -> OnlineTable:
    """Return the rows of ``view``, by the store that ``feature_store.yaml`` names."""
    config, name = store.config.online_store, f"{store.project}_{view}"
    if config.type == "sqlite":
        from feature_repo.online_tables.sqlite import SqliteTable

        return SqliteTable(Path(store.repo_path) / config.path, view, name, layout)
    if config.type == "redis":
        from feature_repo.online_tables.redis import RedisTable

        return RedisTable(redis_client(store), store.project, view, layout)
    if config.type == "postgres":
        from feature_repo.online_tables.postgres import PostgresTable

        return PostgresTable(partial(postgres_connection, store), view, name, layout)
    raise OnlineStoreError(
        f"{store.repo_path}/feature_store.yaml: want an online store of type sqlite, redis or "
        f"postgres, got {config.type!r}"
    )


def forget_retired(store: FeatureStore, live: set[str]) -> None:
    """Remove notes about views that are not live, before Feast removes their rows."""
    config = store.config.online_store
    if config.type == "redis":
        from feature_repo.online_tables.redis import forget_others

        forget_others(redis_client(store), live)
    elif config.type == "postgres":
        from feature_repo.online_tables import postgres

        with postgres_connection(store) as connection:
            postgres.forget_pushed(connection, live)
    else:
        from feature_repo.online_tables import sqlite

        sqlite.forget_pushed(Path(store.repo_path) / config.path, live)


def redis_client(store: FeatureStore) -> Any:
    """Return Feast's own client of the Redis server."""
    from feast.infra.online_stores.redis import RedisOnlineStore

    online: OnlineStore = store.provider.online_store
    assert isinstance(online, RedisOnlineStore)
    return online._get_client(store.config.online_store)  # noqa: SLF001


def postgres_connection(
    store: FeatureStore,
) -> "AbstractContextManager[Connection[tuple[object, ...]]]":
    """Lend Feast's own connection to the PostgreSQL server, in autocommit mode."""
    from feast.infra.online_stores.postgres_online_store.postgres import PostgreSQLOnlineStore

    online: OnlineStore = store.provider.online_store
    assert isinstance(online, PostgreSQLOnlineStore)
    return online._get_conn(store.config, autocommit=True)  # noqa: SLF001
