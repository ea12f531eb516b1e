"""Feast's file registry with one change: a write replaces the file in one step.

Feast 0.67 writes the registry in place (``infra/registry/file.py``), so a reader can meet half a
file and a ``kill -9`` can leave one. Removable when Feast renames into place itself.
"""

import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from feast import FeatureStore, RepoConfig
from feast.infra.registry.file import FileRegistryStore
from feast.repo_config import load_repo_config

from feature_repo.folder import FeastFolder, OnlineKind, configuration_of
from lake.atomic import replace_file

_OFFLINE_STORE = "feature_repo.offline.ServedHistoryOfflineStore"


class AtomicFileRegistryStore(FileRegistryStore):
    """The registry as one file that is always whole."""

    def _write_registry(self, registry_proto: Any) -> None:
        registry_proto.version_id = str(uuid.uuid4())
        registry_proto.last_updated.FromDatetime(datetime.now(UTC))
        replace_file(Path(self._filepath), registry_proto.SerializeToString())


def open_for_reading(folder: FeastFolder, online: OnlineKind | None = None) -> FeatureStore:
    """Return the feature store with point-in-time joins that lose nothing.

    With ``online``, its online rows are those in another store than the one in use.
    """
    config = _config(folder) if online is None else _config_of(folder, online)
    config.offline_config = {"type": _OFFLINE_STORE}
    return FeatureStore(repo_path=str(folder.path), config=config)


def open_for_applying(folder: FeastFolder) -> FeatureStore:
    """Return the feature store with a registry that is replaced in one step."""
    config = _config(folder)
    store_type = f"{__name__}.{AtomicFileRegistryStore.__name__}"
    config.registry.registry_store_type = store_type
    # both: with a configuration alone, a relative registry would lie in the working directory
    return FeatureStore(repo_path=str(folder.path), config=config)


def open_plainly(folder: FeastFolder) -> FeatureStore:
    """Return the feature store as anybody opens it who has Feast alone."""
    return FeatureStore(repo_path=str(folder.path))


def _config(folder: FeastFolder) -> RepoConfig:
    folder.require_settings()
    return load_repo_config(folder.path, folder.configuration)


def _config_of(folder: FeastFolder, online: OnlineKind) -> RepoConfig:
    folder.require_settings(online)
    fields = yaml.safe_load(os.path.expandvars(configuration_of(online)))
    return RepoConfig(**fields, repo_path=folder.path)
