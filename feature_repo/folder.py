"""Where Feast lives in a workspace, and its configuration.

::

    <workspace>/store/                    the embedding store: the truth
    <workspace>/feast/feature_store.yaml  Feast's configuration
    <workspace>/feast/definitions.py      what ``feast apply`` in this folder applies
    <workspace>/feast/registry.db         the registry, one protobuf file
    <workspace>/feast/online.db           online rows, SQLite in WAL mode
    <workspace>/feast/apply.lock          held by the one writer

Every path in the configuration and in the registry is relative to the folder: Feast resolves them
against the folder that holds ``feature_store.yaml`` (a file registry does, an SQLite one would
not), so a workspace can be moved or mounted elsewhere.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lake.atomic import replace_file

PROJECT = "marquee"
WORKSPACE_VARIABLE = "MARQUEE_WORKSPACE"
"""Environment variable with the path of the workspace, for the ``feast`` command line."""

# Readers see a new registry file by its time of change at once; the time to live bounds how long
# one stays on an old registry that was replaced between its reading and its look at the clock.
_CONFIGURATION = f"""\
# Written by marquee; the same in every workspace, edits are overwritten.
project: {PROJECT}
provider: local
registry:
  registry_type: file
  path: registry.db
  cache_ttl_seconds: 5
online_store:
  type: sqlite
  path: online.db
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
    def lock(self) -> Path:
        """What the one writer holds."""
        return self.path / "apply.lock"

    def prepare(self) -> None:
        """Write the configuration where it differs; make the online store one that never blocks.

        In WAL mode readers see the last commit while a writer works; the mode stays with the file.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for name, text in (
            ("feature_store.yaml", _CONFIGURATION),
            ("definitions.py", _DEFINITIONS),
        ):
            path = self.path / name
            if not path.exists() or path.read_text() != text:
                replace_file(path, text.encode())
        with closing(sqlite3.connect(self.online)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
