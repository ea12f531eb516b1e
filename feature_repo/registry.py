"""Feast's registry as we open it. A file with one change: a write replaces it in one step.

Feast 0.67 writes the registry in place (``infra/registry/file.py``), so a reader can meet half a
file and a ``kill -9`` can leave one. Removable when Feast renames into place itself.
"""

import os
import uuid
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from feast import FeatureStore, RepoConfig
from feast.infra.registry.file import FileRegistryStore
from feast.repo_config import load_repo_config

from feature_repo.folder import (
    REGISTRY_VARIABLE,
    FeastFolder,
    OnlineKind,
    configuration_of,
)
from lake.atomic import replace_file

if TYPE_CHECKING:
    from feature_repo.sql_registry import RegistrySession

_OFFLINE_STORE = "feature_repo.offline.ServedHistoryOfflineStore"


class AtomicFileRegistryStore(FileRegistryStore):
    """The registry as one file that is always whole."""

    def _write_registry(self, registry_proto: Any) -> None:
        registry_proto.version_id = str(uuid.uuid4())
        registry_proto.last_updated.FromDatetime(datetime.now(UTC))
        replace_file(Path(self._filepath), registry_proto.SerializeToString())


def open_for_reading(
    folder: FeastFolder, online: OnlineKind | None = None, *, auth: dict[str, Any] | None = None
) -> FeatureStore:
    """Return the feature store with point-in-time joins that lose nothing.

    With ``online``, its online rows are those in another store than the one in use; with ``auth``,
    a server over it asks for tokens.
    """
    config = _config(folder) if online is None else _config_of(folder, online)
    if auth is not None:
        config.auth = auth
    config.offline_config = {"type": _OFFLINE_STORE}
    return _opened(folder, config)


def open_for_applying(folder: FeastFolder) -> FeatureStore:
    """Return the feature store with a registry that is replaced in one step."""
    config = _config(folder)
    if folder.registry_kind() == "sql":
        return _opened(folder, config)
    store_type = f"{__name__}.{AtomicFileRegistryStore.__name__}"
    config.registry.registry_store_type = store_type
    return _opened(folder, config)


def open_plainly(folder: FeastFolder) -> FeatureStore:
    """Return the feature store as anybody opens it who has Feast alone."""
    return FeatureStore(repo_path=str(folder.path))


def writing(folder: FeastFolder) -> "AbstractContextManager[RegistrySession | None]":
    """Hold the right to write the registry, against other machines too; None of a file.

    Of a file the holder of the folder's lock has the right.
    """
    folder.require_settings()
    if folder.registry_kind() == "file":
        return nullcontext()
    from feature_repo.sql_registry import locked

    url = os.environ[REGISTRY_VARIABLE]
    return locked(url.replace("postgresql://", "postgresql+psycopg://", 1))


def _opened(folder: FeastFolder, config: RepoConfig) -> FeatureStore:
    # both: with a configuration alone, a relative registry would lie in the working directory
    if config.registry.registry_type != "sql":
        return FeatureStore(repo_path=str(folder.path), config=config)
    from feature_repo.sql_registry import SqlFeatureStore

    return SqlFeatureStore(repo_path=str(folder.path), config=config)


def _config(folder: FeastFolder) -> RepoConfig:
    folder.require_settings()
    return load_repo_config(folder.path, folder.configuration)


def _config_of(folder: FeastFolder, online: OnlineKind) -> RepoConfig:
    folder.require_settings(online)
    fields = yaml.safe_load(os.path.expandvars(configuration_of(online, folder.registry_kind())))
    return RepoConfig(**fields, repo_path=folder.path)
