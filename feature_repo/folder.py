"""Where Feast lives in a workspace, and its configuration.

::

    <workspace>/store/                    the embedding store: the truth
    <workspace>/feast/feature_store.yaml  Feast's configuration
    <workspace>/feast/definitions.py      what ``feast apply`` in this folder applies
    <workspace>/feast/registry.db         the registry, one protobuf file, unless a database has it
    <workspace>/feast/online.db           online rows, SQLite in WAL mode, unless a server has them
    <workspace>/feast/erasures.txt        erasures that went through a server's online rows
    <workspace>/feast/online_left.txt     online stores whose rows are still to be removed
    <workspace>/feast/apply.lock          held by the one writer

Every path in the configuration and in the registry is relative to the folder: Feast resolves them
against the folder that holds ``feature_store.yaml`` (a file registry does, an SQLite one would
not), so a workspace can be moved or mounted elsewhere.
"""

import os
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import yaml

from feature_repo.errors import OnlineStoreError
from lake.atomic import replace_file

PROJECT = "marquee"
WORKSPACE_VARIABLE = "MARQUEE_WORKSPACE"
"""Environment variable with the path of the workspace, for the ``feast`` command line."""

OnlineKind = Literal["sqlite", "redis", "postgres"]
ONLINE_KINDS: tuple[OnlineKind, ...] = ("sqlite", "redis", "postgres")

RegistryKind = Literal["file", "sql"]
REGISTRY_KINDS: tuple[RegistryKind, ...] = ("file", "sql")
REGISTRY_VARIABLE = "MARQUEE_REGISTRY"

SQL_CACHE_S = 2
"""How long a reader of an SQL registry may stay behind it."""

# Readers see a new registry file by its time of change at once; the time to live bounds how long
# one stays on an old registry that was replaced between its reading and its look at the clock.
_REGISTRY: dict[RegistryKind, str] = {
    "file": """\
  registry_type: file
  path: registry.db
  cache_ttl_seconds: 5""",
    "sql": f"""\
  registry_type: sql
  path: '${{{REGISTRY_VARIABLE}}}'
  cache_ttl_seconds: {SQL_CACHE_S}
  sqlalchemy_config_kwargs: {{echo: false, pool_pre_ping: true}}""",
}

# What is secret, and where servers are, stays in the environment: Feast fills it in when it reads,
# before it parses, hence the quotes: a password of digits is text too.
_ONLINE: dict[OnlineKind, str] = {
    "sqlite": """\
  type: sqlite
  path: online.db""",
    "redis": """\
  type: redis
  connection_string: '${MARQUEE_REDIS}'""",
    "postgres": """\
  type: postgres
  host: '${MARQUEE_POSTGRES_HOST}'
  port: ${MARQUEE_POSTGRES_PORT}
  database: '${MARQUEE_POSTGRES_DATABASE}'
  db_schema: '${MARQUEE_POSTGRES_SCHEMA}'
  user: '${MARQUEE_POSTGRES_USER}'
  password: '${MARQUEE_POSTGRES_PASSWORD}'
  sslmode: '${MARQUEE_POSTGRES_SSLMODE}'""",
}

_FORMS: dict[OnlineKind, tuple[tuple[str, str, str], ...]] = {
    "sqlite": (),
    "redis": (("MARQUEE_REDIS", r"[^,=]+:\d+(,.*)?", "host:port, then options behind commas"),),
    "postgres": (("MARQUEE_POSTGRES_PORT", r"\d+", "a number"),),
}
"""What Feast does not refuse in words of its own."""

_VARIABLE = re.compile(r"\$\{(\w+)\}")

_CONFIGURATION = f"""\
# Written by marquee; edits are overwritten, but for the types of registry and store.
project: {PROJECT}
provider: local
registry:
{{registry}}
online_store:
{{online_store}}
offline_store:
  type: dask
entity_key_serialization_version: 3
"""

# Without this file ``feast apply`` in the folder would apply nothing, which deletes everything.
_DEFINITIONS = f'''\
"""Written by marquee: what `feast apply` in this folder applies, rendered from the log."""

import os
from pathlib import Path

os.environ["{WORKSPACE_VARIABLE}"] = str(Path(__file__).resolve().parents[1])

from feature_repo.definitions import *  # noqa: E402, F403
'''


def configuration_of(kind: OnlineKind, registry: RegistryKind = "file") -> str:
    """Return the text of a configuration whose online rows lie in a store of ``kind``."""
    return _CONFIGURATION.format(online_store=_ONLINE[kind], registry=_REGISTRY[registry])


@dataclass(frozen=True, slots=True)
class FeastFolder:
    """The Feast folder of one workspace."""

    path: Path

    @classmethod
    def of(cls, workspace: Path) -> "FeastFolder":
        """Return the Feast folder of ``workspace``."""
        return cls(workspace / "feast")

    @property
    def store(self) -> Path:
        """The embedding store beside it."""
        return self.path.parent / "store"

    @property
    def registry(self) -> Path:
        """The registry file."""
        return self.path / "registry.db"

    @property
    def online(self) -> Path:
        """The online store's file."""
        return self.path / "online.db"

    @property
    def erasures(self) -> Path:
        """How many erasures went through the online store, where it is a server."""
        return self.path / "erasures.txt"

    @property
    def left(self) -> Path:
        """Which online stores were left, but may still have rows."""
        return self.path / "online_left.txt"

    @property
    def lock(self) -> Path:
        """What the one writer holds."""
        return self.path / "apply.lock"

    @property
    def configuration(self) -> Path:
        """Feast's configuration."""
        return self.path / "feature_store.yaml"

    def online_kind(self) -> OnlineKind:
        """Return which online store the configuration names; raises OnlineStoreError."""
        return cast("OnlineKind", self._kind("online_store", "type", "online store", ONLINE_KINDS))

    def registry_kind(self) -> RegistryKind:
        """Return which registry the configuration names; raises OnlineStoreError."""
        found = self._kind("registry", "registry_type", "registry", REGISTRY_KINDS)
        return cast("RegistryKind", found)

    def has_registry(self) -> bool:
        """Return whether the registry can be opened without an empty one being written."""
        return self.registry_kind() == "sql" or self.registry.exists()

    def _kind(self, part: str, key: str, what: str, kinds: tuple[str, ...]) -> str:
        if not self.configuration.exists():
            return kinds[0]
        found = yaml.safe_load(self.configuration.read_text())[part][key]
        if found not in kinds:
            raise OnlineStoreError(
                f"{self.configuration}: want an {what} of type {', '.join(kinds)}, got {found!r}"
            )
        return str(found)

    def prepare(
        self, online: OnlineKind | None = None, registry: RegistryKind | None = None
    ) -> None:
        """Write the configuration where it differs, for another store or registry if one is named.

        In WAL mode SQLite's readers see the last commit while a writer works; the mode stays with
        the file.
        """
        kind = online or self.online_kind()
        self.path.mkdir(parents=True, exist_ok=True)
        for path, text in (
            (self.configuration, configuration_of(kind, registry or self.registry_kind())),
            (self.path / "definitions.py", _DEFINITIONS),
        ):
            if not path.exists() or path.read_text() != text:
                replace_file(path, text.encode())
        if kind == "sqlite":
            with closing(sqlite3.connect(self.online)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")

    def require_settings(
        self, kind: OnlineKind | None = None, registry: RegistryKind | None = None
    ) -> None:
        """Raise OnlineStoreError unless the environment has all that store and registry need."""
        if (registry or self.registry_kind()) == "sql":
            found = os.environ.get(REGISTRY_VARIABLE, "")
            if not re.match(r"postgresql(\+psycopg)?://", found):  # not repeated: may be secret
                raise OnlineStoreError(
                    f"{REGISTRY_VARIABLE}: want postgresql+psycopg://user:password@host/database, "
                    "as docs/sql-registry.md says"
                )
        chosen = kind or self.online_kind()
        left = _VARIABLE.findall(os.path.expandvars(_ONLINE[chosen]))
        if left:
            raise OnlineStoreError(
                f"the online store of {self.path} is to be {chosen}: set "
                f"{', '.join(dict.fromkeys(left))} in the environment"
            )
        for name, form, wanted in _FORMS[chosen]:
            if not re.fullmatch(form, os.environ[name]):  # not repeated: it may hold a password
                raise OnlineStoreError(f"{name}: want {wanted}, as docs/online-stores.md says")
