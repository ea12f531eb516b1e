"""The one safe apply: everything that the log renders, in one step, or nothing.

A registry file is replaced whole (``registry.AtomicFileRegistryStore``), a database's changes in
one transaction (``sql_registry``), so a reader sees the services of before or those of after, and
so does whoever comes after a ``kill -9``.
"""

import json
from collections.abc import Iterable, Mapping
from time import sleep
from typing import TYPE_CHECKING, Any

from feast import FeatureService, FeatureStore, FeatureView, FileSource
from feast.permissions.permission import Permission
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from feature_repo.errors import LiveVersionError, RenderingError
from feature_repo.folder import PROJECT, SQL_CACHE_S
from feature_repo.rendering import LOG_SEQ, Rendering

if TYPE_CHECKING:
    from feature_repo.sql_registry import RegistrySession

CACHES_PASS_S = SQL_CACHE_S + 1.0
"""How long new views stand before a service names them: by then every cache was read again."""


def apply_rendering(
    store: FeatureStore,
    rendering: Rendering,
    *,
    live: Iterable[str],
    session: "RegistrySession | None" = None,
) -> bool:
    """Make the registry show ``rendering`` and nothing else; return whether it had to change.

    Args:
        store: from ``registry.open_for_applying``, by the holder of the folder's lock.
        rendering: what to show.
        live: names of the views of live versions: an apply that would delete one of them is
            refused with LiveVersionError before it changes anything.
        session: of an SQL registry, the right to write it. New views stand for a while before a
            service names them, since a reader of Feast alone reads views and services apart.
    """
    views = registered_views(store)
    services = {one.name: one for one in store.registry.list_feature_services(PROJECT)}
    surplus = [view for name, view in views.items() if name not in rendering.views]
    lost = sorted({view.name for view in surplus} & set(live) | set(live) - set(rendering.views))
    if lost:
        raise LiveVersionError(
            f"this apply would delete the views of live versions: {', '.join(lost)}; run `marquee "
            "reconcile`, which applies what the log holds, or `marquee retire` them first"
        )
    permissions = {one.name: one for one in store.registry.list_permissions(PROJECT)}
    shown = _pictures(views, services, permissions)
    if shown == _pictures(rendering.views, rendering.services, rendering.permissions):
        return False
    gone: list[Any] = [one for name, one in services.items() if name not in rendering.services]
    gone += [one for name, one in permissions.items() if name not in rendering.permissions]
    if session is None:
        store.apply(rendering.objects, objects_to_delete=[*gone, *surplus], partial=False)
        return True
    if services and not views.keys() >= rendering.views.keys():
        with session.transaction(store):
            _refuse_going_back(store, rendering)
            store.apply(rendering.without_services, partial=True)
        sleep(CACHES_PASS_S)
    with session.transaction(store):
        _refuse_going_back(store, rendering)
        store.apply(rendering.objects, objects_to_delete=[*gone, *surplus], partial=False)
    return True


def _refuse_going_back(store: FeatureStore, rendering: Rendering) -> None:
    """Raise RenderingError when another apply, of a longer log, came in between."""
    ours, there = int(rendering.project.tags[LOG_SEQ]), registered_log_seq(store)
    if there > ours:
        raise RenderingError(
            f"the registry shows {there} entries of the log, this apply {ours}: another one came "
            "in between; run `marquee reconcile`"
        )


def registered_views(store: FeatureStore) -> dict[str, FeatureView]:
    """Return the registry's views by name, as they stand in the file now."""
    try:
        return {view.name: view for view in store.registry.list_feature_views(PROJECT)}
    except DecodeError as error:
        raise RenderingError(
            "the feature registry is damaged: remove feast/registry.db from the workspace and run "
            "`marquee reconcile`, which makes it again from the log"
        ) from error


def registered_log_seq(store: FeatureStore) -> int:
    """Return how many entries of the log the registry was rendered from, 0 before the first."""
    projects = [one for one in store.registry.list_projects() if one.name == PROJECT]
    return int(projects[0].tags.get(LOG_SEQ, "0")) if projects else 0


def _pictures(
    views: Mapping[str, FeatureView],
    services: Mapping[str, FeatureService],
    permissions: Mapping[str, Permission],
) -> dict[str, Any]:
    """Return what a reader can tell apart, as plain values."""
    pictures: dict[str, Any] = {
        f"view {name}": {
            "tags": dict(view.tags),
            "source": _path(view.batch_source),
            "columns": sorted((field.name, str(field.dtype)) for field in view.schema),
            "ttl": str(view.ttl),
        }
        for name, view in views.items()
    }
    for name, service in services.items():
        pictures[f"service {name}"] = {
            "tags": dict(service.tags),
            "views": [
                (
                    projection.name,
                    projection.name_alias,
                    sorted(f.name for f in projection.features),
                )
                for projection in service.feature_view_projections
            ],
        }
    for name, permission in permissions.items():
        spec = permission.to_proto().spec
        pictures[f"permission {name}"] = MessageToDict(spec)
    return json.loads(json.dumps(pictures))  # type: ignore[no-any-return]


def _path(source: Any) -> str | None:
    return source.path if isinstance(source, FileSource) else None
