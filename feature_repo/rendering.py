"""Feast objects as a pure function of the log's state.

::

    version v3 of frame 1 ─► user_embedding__f1__v3, item_embedding__f1__v3     own online rows
    frame 1's history     ─► user_history__f1, item_history__f1                 batch source of all
    alias stable ─► v3    ─► embeddings_f1_stable        both, as user_embedding and item_embedding
                             embeddings_f1_stable_user   the user view alone
                             embeddings_f1_stable_item   the item view alone

``with_name`` fixes the columns (``user_embedding__embedding``, ``user_embedding__version``, ...)
whatever the version. Feast refuses an online read of a service when ids of one of its entities are
missing, hence the one-sided services; all of them switch in the same apply.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from feast import Entity, FeatureService, FeatureView, Field, FileSource, Project, ValueType
from feast.data_format import ParquetFormat
from feast.permissions.permission import Permission
from feast.types import Array, Float32, String

from embedding_store.contracts import ID_COLUMNS, SIDES, Side
from embedding_store.state import StoreState
from feature_repo.errors import RenderingError
from feature_repo.folder import PROJECT
from feature_repo.permissions import Readers, permissions_for
from feature_repo.served import ServedFrame, ServedVersion, service_name

# 0 is "never expires"; an embedding is valid until the next one, and its age is in `as_of`
_NO_TTL = timedelta(0)
_OWNER = "team:feature-platform"
LOG_SEQ = "log_seq"
"""Tag of the project: how many entries of the log the registry was rendered from."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """Every Feast object that the log implies."""

    project: Project
    entities: Mapping[Side, Entity]
    sources: tuple[FileSource, ...]
    views: Mapping[str, FeatureView]
    services: Mapping[str, FeatureService]
    permissions: Mapping[str, Permission]

    @property
    def objects(self) -> list[Any]:
        """All objects, for one apply."""
        return [*self.without_services, *self.services.values()]

    @property
    def without_services(self) -> list[Any]:
        """All objects that no reader is led to by themselves."""
        return [
            self.project,
            *self.entities.values(),
            *self.sources,
            *self.views.values(),
            *self.permissions.values(),
        ]


def render(
    frames: Sequence[ServedFrame], *, log_seq: int, readers: Readers | None = None
) -> Rendering:
    """Return the objects that serve ``frames`` to ``readers``, the fold of ``log_seq`` entries.

    Raises RenderingError, never renders empty.
    """
    if not frames:
        raise RenderingError("the log has no live version: rendering nothing would delete views")
    entities = {side: _entity(side) for side in SIDES}
    sources: list[FileSource] = []
    views: dict[str, FeatureView] = {}
    services: dict[str, FeatureService] = {}
    for frame in frames:
        by_side = {side: _history(frame.number, side) for side in SIDES}
        sources.extend(by_side.values())
        for version in frame.versions:
            for side in SIDES:
                view = _view(version, side, entities[side], by_side[side])
                views[view.name] = view
        for alias, version in frame.aliases.items():
            for service in _services(frame, alias, version, views):
                services[service.name] = service
    project = Project(
        name=PROJECT,
        description="Versioned embeddings, rendered from the log.",
        owner=_OWNER,
        tags={LOG_SEQ: str(log_seq)},
    )
    return Rendering(
        project, entities, tuple(sources), views, services, permissions_for(readers or {})
    )


def check_log_covers(
    state: StoreState, registered: Sequence[Mapping[str, str]], *, log_seq: int
) -> None:
    """Raise RenderingError when the registry knows more than the log.

    Args:
        state: the fold of the log.
        registered: the tags of the registry's views, each of a version that the log must hold.
        log_seq: how many entries of the log the registry was rendered from.
    """
    if state.seq < log_seq:
        raise RenderingError(
            f"the registry was rendered from {log_seq} entries of the log, which has {state.seq} "
            "now: it is an older or another log; restore it"
        )
    for tags in registered:
        number = int(tags["number"])
        known = state.versions.get(number)
        if known is None or str(known.frame) != tags["frame"]:
            raise RenderingError(
                f"the registry serves v{number} of frame {tags['frame']}, which the log (of "
                f"{state.seq} entries) does not hold: it is an older or another log; restore it"
            )


def _entity(side: Side) -> Entity:
    return Entity(
        name=side,
        join_keys=[ID_COLUMNS[side]],
        value_type=ValueType.STRING,
        description=f"The {side}s of the log, by their ids there.",
        owner=_OWNER,
    )


def _history(frame: int, side: Side) -> FileSource:
    return FileSource(
        name=f"{side}_history__f{frame}",
        path=f"../store/history/f{frame}/{side}",
        timestamp_field="event_timestamp",
        file_format=ParquetFormat(),
        description="What stable served: a part per switch, event_timestamp = its instant.",
        owner=_OWNER,
    )


def _view(version: ServedVersion, side: Side, entity: Entity, source: FileSource) -> FeatureView:
    return FeatureView(
        name=version.view(side),
        entities=[entity],
        # the id is declared too: Feast would open the source to infer its type otherwise
        schema=[
            Field(name=ID_COLUMNS[side], dtype=String, description=f"The {side}'s id."),
            Field(
                name="embedding",
                dtype=Array(Float32),
                description="Inner products of a version's users and items are its model's logits.",
            ),
            Field(name="version", dtype=String, description="The version that the vector is of."),
        ],
        description=f"The {_said([side])} of {version.published.name}, {version.published.day}.",
        owner=_OWNER,
        ttl=_NO_TTL,
        source=source,
        online=True,
        tags=_tags(version),
    )


def _said(sides: Sequence[Side]) -> str:
    return " and ".join(f"{side} embeddings" for side in sides)


def _tags(version: ServedVersion) -> dict[str, str]:
    published, manifest = version.published, version.manifest
    return {
        "frame": str(published.frame),
        "number": str(published.number),
        "version": published.name,
        "day": published.day,
        "digest": published.digest,
        "as_of": published.as_of,
        "dim": str(manifest.dim),
        "default_user": json.dumps(list(manifest.default_user)),
    }


def _services(
    frame: ServedFrame, alias: str, version: ServedVersion, views: Mapping[str, FeatureView]
) -> list[FeatureService]:
    tags = {
        **_tags(version),
        "alias": alias,
        "switches": json.dumps([[at.isoformat(), name] for at, name in frame.switches]),
    }
    chosen: dict[Side | None, tuple[Side, ...]] = {
        None: SIDES,
        "user": ("user",),
        "item": ("item",),
    }
    return [
        FeatureService(
            name=service_name(frame.number, alias, only),
            features=[views[version.view(side)].with_name(f"{side}_embedding") for side in sides],
            description=f"What {alias} of frame {frame.number} means now: the {_said(sides)} of "
            f"{version.published.name}, {version.published.day}.",
            owner=_OWNER,
            tags=tags,
        )
        for only, sides in chosen.items()
    ]
