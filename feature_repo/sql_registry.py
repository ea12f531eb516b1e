"""Feast's SQL registry for several writers: one session of PostgreSQL locks, writes and is fenced.

::

    session ─► advisory lock ─► log read, rows written ─► views added, commit ─► caches pass
            ─► services switched and old views removed, commit ─► lock released

Feast 0.67 commits object by object and reads table by table (``infra/registry/sql.py``); here all
of an apply is one transaction and all of a refresh is one snapshot. The lock and the transactions
are of the same session, so whoever lost the one, as after a pause that the server did not wait for,
has lost the other: it cannot write over what a newer apply did.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feast import FeatureStore
from feast.infra.registry.sql import SqlRegistry
from feast.protos.feast.core.Registry_pb2 import Registry
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from feature_repo.errors import RegistryLostError
from feature_repo.folder import PROJECT

_LOCK = "hashtext('marquee registry ' || current_schema())"
_OWNER = "workspace"


class _SharedEngine:
    """An engine whose transactions are all parts of one, in a thread that holds one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held = threading.local()

    def begin(self) -> AbstractContextManager[Connection]:
        """Return the transaction that is held, or one of its own."""
        held: Connection | None = getattr(self._held, "connection", None)
        return self._engine.begin() if held is None else nullcontext(held)

    @contextmanager
    def within(self, connection: Connection) -> Iterator[None]:
        """Let all that is done in this thread be part of the connection's transaction."""
        self._held.connection = connection
        try:
            yield
        finally:
            self._held.connection = None

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all that is read in this thread be of one instant."""
        if getattr(self._held, "connection", None) is not None:
            yield
            return
        engine = self._engine.execution_options(isolation_level="REPEATABLE READ")
        with engine.begin() as connection, self.within(connection):
            yield

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


class WholeSqlRegistry(SqlRegistry):
    """The SQL registry, read as of one instant; says when it cannot be read."""

    def __init__(self, config: Any, project: str, repo_path: Path | None) -> None:
        """Open it; raises OSError when the database cannot be reached."""
        self._shared: _SharedEngine | None = None
        with _as_os_error():
            super().__init__(config, project, repo_path)
            shared: Any = _SharedEngine(self.write_engine)
            self._shared = self.write_engine = self.read_engine = shared
            self.cached_registry_proto = self.proto()

    def proto(self) -> Registry:
        """Return the whole registry as of one instant."""
        if self._shared is None:  # while Feast opens it; read again right after
            return super().proto()
        with self._shared.snapshot():
            return super().proto()

    def refresh(self, project: str | None = None) -> None:  # noqa: ARG002 - Feast's
        """Read it anew; raises OSError where Feast would go on with what it knew, for good."""
        with _as_os_error():
            self.cached_registry_proto = self.proto()
        self.cached_registry_proto_created = _now()

    def _refresh_cached_registry_if_necessary(self) -> None:
        with self._refresh_lock:
            if self.cache_mode == "sync" and not self.is_cache_valid():
                self.refresh()

    def within(self, connection: Connection) -> AbstractContextManager[None]:
        """Let all that this thread does be part of the connection's transaction."""
        assert self._shared is not None
        return self._shared.within(connection)


class SqlFeatureStore(FeatureStore):
    """Feast's store over a ``WholeSqlRegistry``."""

    def _create_registry(self) -> WholeSqlRegistry:
        return WholeSqlRegistry(self.config.registry, self.config.project, None)


@dataclass(frozen=True, slots=True)
class RegistrySession:
    """The right to write the registry, for as long as the database keeps the session."""

    connection: Connection

    @contextmanager
    def transaction(self, store: FeatureStore) -> Iterator[None]:
        """Let all that the block does to the store's registry happen at once, or not at all."""
        registry = store.registry
        assert isinstance(registry, WholeSqlRegistry)
        with _as_lost(), self.connection.begin(), registry.within(self.connection):
            yield
        with _as_lost():
            registry.refresh()

    def claim(self, store: FeatureStore, workspace: str) -> None:
        """Let the registry be the workspace's; raises RegistryLostError where it is another's."""
        registry = store.registry
        assert isinstance(registry, WholeSqlRegistry)
        with self.transaction(store):
            owner = registry.get_project_metadata(PROJECT, _OWNER)
            if owner is None:
                registry.set_project_metadata(PROJECT, _OWNER, workspace)
        if owner not in (None, workspace):
            raise RegistryLostError(
                f"want a registry for workspace {workspace}, MARQUEE_REGISTRY leads to that of "
                f"workspace {owner}: name another database or schema"
            )


@contextmanager
def locked(url: str) -> Iterator[RegistrySession]:
    """Hold the one right to write the registry; waits while another machine has it.

    The lock is the session's: the server drops it when the process or the connection ends.
    """
    engine = create_engine(url)
    try:
        with _as_lost():
            connection = engine.connect()
        with connection:
            with _as_lost():
                connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
                connection.commit()
            yield RegistrySession(connection)
    finally:
        engine.dispose()  # which ends the session, and so the lock


def _now() -> Any:
    from feast.utils import _utc_now

    return _utc_now()


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise OSError(
            f"the registry's database does not answer: {_without_values(error)}"
        ) from error


@contextmanager
def _as_lost() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise RegistryLostError(
            f"the registry's database ended this writer's session ({_without_values(error)}): "
            "another may have applied since; run `marquee reconcile`"
        ) from error


def _without_values(error: SQLAlchemyError) -> str:
    """Return what the server said, without the statement and its values."""
    return str(getattr(error, "orig", None) or error).strip().replace("\n", " ")
