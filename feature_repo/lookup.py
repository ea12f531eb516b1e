"""How a consumer reads embeddings: through the FeatureService of a stable name, nothing else.

::

    features = open_features(workspace / "feast")
    users = features.users(["u1", "?"])         # is_found [True, False], vectors [2, dim], version
    then = features.training_frame(exposures)   # what was served at each row's event_timestamp

An unknown user gets ``is_found`` False and the version's declared default vector; an unknown item
gets ``is_found`` False and zeros (no published vector is zero). Every answer is of one version.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from embedding_store.answers import Embeddings, require_one_version
from embedding_store.contracts import ID_COLUMNS, SIDES, Float32, Side, asked_ids, strings
from embedding_store.errors import MixedVersionsError
from embedding_store.pinned import PATIENCE_S
from feature_repo.errors import NoTableError, NotServedError
from feature_repo.folder import FeastFolder
from feature_repo.history import TrainingFrame, join_served
from feature_repo.served import service_name

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureService, FeatureStore

    from feature_repo.online_tables.layout import RowLayout
    from feature_repo.online_tables.table import OnlineTable

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Embeddings of users and items, row by row, of one version."""

    users: Embeddings
    items: Embeddings

    @property
    def scores(self) -> Float32:
        """float32[N]: the inner products, which are the model's logits."""
        products: Float32 = np.einsum("nd,nd->n", self.users.vectors, self.items.vectors)
        return products


@dataclass(frozen=True, slots=True)
class _ViewRows:
    """Where a view's online rows lie, and what answers for who is not there."""

    tags: "dict[str, str]"
    layout: "RowLayout"
    table: "OnlineTable"
    default: Float32


def open_features(feast_folder: Path, *, frame: int = 1, alias: str = "stable") -> "Features":
    """Return the embeddings of a frame under an alias, as the Feast folder serves them.

    Raises NotServedError when nothing is published there.
    """
    folder = FeastFolder(feast_folder.resolve())
    # opening Feast without a registry would write an empty one, in place
    if not folder.has_registry():
        raise NotServedError(
            f"{feast_folder} serves nothing yet: publish a version, or run `marquee reconcile` "
            "where the log has one"
        )
    from feature_repo.registry import open_for_reading

    features = Features(open_for_reading(folder), frame=frame, alias=alias)
    features.service()
    return features


class Features:
    """A consumer's view of one frame; every call follows the alias, ``pinned`` stays.

    While the registry cannot be read, the alias goes on meaning what it meant, for ``PATIENCE_S``.
    """

    def __init__(
        self,
        store: "FeatureStore",
        *,
        frame: int,
        alias: str,
        held: "dict[str, FeatureService] | None" = None,
    ) -> None:
        """Read through ``store``; ``held`` are services resolved once, for a pinned session."""
        self._store = store
        self._frame = frame
        self._alias = alias
        self._held = held
        self._rows: dict[str, _ViewRows] = {}
        self._pinned_rows: dict[Side, _ViewRows] = {}
        self._known: dict[str, FeatureService] = {}
        self._answered_at = monotonic()

    @property
    def version(self) -> str:
        """The version that the alias means now (or, pinned, meant then)."""
        return str(self.service().tags["version"])

    def pinned(self) -> "Features":
        """Return the same features held on the version that the alias means now."""

        def resolve() -> "dict[str, FeatureService]":
            services = {}
            for side in (None, "user", "item"):
                services[service_name(self._frame, self._alias, side)] = self.service(side)
            return services

        held = resolve()
        while len({one.tags["version"] for one in held.values()}) > 1:  # a switch fell in between
            held = resolve()
        return Features(self._store, frame=self._frame, alias=self._alias, held=held)

    def users(self, ids: Sequence[str]) -> Embeddings:
        """Return the users' embeddings."""
        return self._one_side("user", ids)

    def items(self, ids: Sequence[str]) -> Embeddings:
        """Return the items' embeddings."""
        return self._one_side("item", ids)

    def pairs(self, user_ids: Sequence[str], item_ids: Sequence[str]) -> Pairs:
        """Return the embeddings of user and item row by row, of one version."""
        if len(user_ids) != len(item_ids):
            raise ValueError(
                f"pairs: want as many items as users, got {len(item_ids)} and {len(user_ids)}"
            )

        def read() -> Pairs:
            service = self.service()
            return Pairs(
                self._read(self._rows_behind(service, "user"), user_ids),
                self._read(self._rows_behind(service, "item"), item_ids),
            )

        pairs = self._again(read)
        require_one_version(pairs.users, pairs.items)
        return pairs

    def training_frame(
        self, rows: "pd.DataFrame", *, allow_unserved: bool = False
    ) -> TrainingFrame:
        """Return what was served at each row's instant: a point-in-time join that loses no row.

        Args:
            rows: ``event_timestamp`` (with a time zone) and ``user_id``, ``item_id`` or both; other
                columns are ignored, equal rows are fine.
            allow_unserved: let rows from before the frame's first switch come back as not served
                (``is_served`` False, zero vectors) instead of raising HistoryError.

        Raises HistoryError too when the history has no part of a switch that the rows need.
        """
        sides: list[Side] = [side for side in SIDES if ID_COLUMNS[side] in rows.columns]
        if not sides:
            raise ValueError(f"training rows: want user_id or item_id, got {list(rows.columns)}")

        def join() -> TrainingFrame:
            held = self if self._held is not None else self.pinned()
            services = {side: held.service(side) for side in sides}
            return join_served(self._store, services, rows, allow_unserved=allow_unserved)

        return self._again(join)

    def service(self, side: Side | None = None) -> "FeatureService":
        """Return the FeatureService behind the stable name; raises NotServedError."""
        from feast.errors import FeatureServiceNotFoundException
        from google.protobuf.message import DecodeError

        name = service_name(self._frame, self._alias, side)
        if self._held is not None:
            return self._held[name]
        try:
            service = self._store.get_feature_service(name, allow_cache=True)
        except FeatureServiceNotFoundException as error:
            raise NotServedError(f"no service {name}: {self._why_not_served()}") from error
        except (OSError, DecodeError) as error:
            return self._last_known(name, error)
        self._known[name] = service
        self._answered_at = monotonic()
        return service

    def _why_not_served(self) -> str:
        """Return what to read instead of a name without a service.

        The registry shows what is served; it does not tell a retired frame from one to come.
        """
        services = self._store.registry.list_feature_services(self._store.project, allow_cache=True)
        frames = {
            int(one.tags["frame"])
            for one in services
            if one.name == service_name(int(one.tags["frame"]), "stable")
        }
        if self._frame in frames or not frames:
            return f"nothing is promoted to {self._alias} in frame {self._frame}"
        return (
            f"frame {self._frame} is retired or has no stable version yet, and frame {max(frames)} "
            f"is served: open the features with frame={max(frames)}"
        )

    def _last_known(self, name: str, error: Exception) -> "FeatureService":
        """Return what the service meant when the registry last answered, while that is recent."""
        silent_s = monotonic() - self._answered_at
        if name in self._known and silent_s <= PATIENCE_S:
            logger.warning("%s stays as it was %.0f s ago: %s", name, silent_s, error)
            return self._known[name]
        raise NotServedError(
            f"the feature registry cannot be read ({error}): remove feast/registry.db from the "
            "workspace if it is damaged, and run `marquee reconcile`, which makes it again from "
            "the log"
        ) from error

    def _one_side(self, side: Side, ids: Sequence[str]) -> Embeddings:
        if (rows := self._pinned_rows.get(side)) is None:
            return self._again(lambda: self._read(self._rows_behind(self.service(side), side), ids))
        return self._again(lambda: self._read(rows, ids))

    def _read(self, rows: _ViewRows, ids: Sequence[str]) -> Embeddings:
        """Return what a view's rows say of ids."""
        names, keys = _asked(ids, rows.layout)
        read = rows.table.read(keys)
        held = [row for row in read if row is not None]
        label = rows.layout.label
        odd = {other for _, other in held if other != label}
        if odd:
            raise MixedVersionsError(
                f"{rows.layout.side} rows of "
                f"{', '.join(sorted(map(rows.layout.version_in, odd)))} answer for "
                f"{rows.layout.version}: run `marquee reconcile`"
            )
        found = rows.layout.vectors([value for value, _ in held])
        if len(held) == len(names):
            return Embeddings(names, np.ones(len(names), bool), found, rows.layout.version)
        is_found = np.fromiter((row is not None for row in read), bool, count=len(names))
        vectors = np.tile(rows.default, (len(names), 1))
        vectors[is_found] = found
        return Embeddings(names, is_found, vectors, rows.layout.version)

    def _rows_behind(self, service: "FeatureService", side: Side) -> _ViewRows:
        """Return the rows behind the service's view of one side.

        By the view's own name: Feast 0.67 remembers what a service means by the service's name
        alone (``utils._get_cached_request_context``), also while it is switched.
        """
        alias = f"{side}_embedding"
        view = next(v.name for v in service.feature_view_projections if v.name_alias == alias)
        rows = self._rows_of(view, side, service.tags)
        if self._held is not None:
            self._pinned_rows[side] = rows
        return rows

    def _rows_of(self, view: str, side: Side, tags: "dict[str, str]") -> _ViewRows:
        from feature_repo.online_tables.layout import layout_of
        from feature_repo.online_tables.opening import open_table

        if (held := self._rows.get(view)) is not None and held.tags == tags:
            return held
        layout = layout_of(side, tags)
        default = np.zeros(layout.dim, dtype=np.float32)
        if side == "user":
            default[:] = json.loads(tags["default_user"])
        table = open_table(self._store, view, layout)
        self._rows[view] = _ViewRows(dict(tags), layout, table, default)
        return self._rows[view]

    def _again(self, read: Callable[[], T]) -> T:
        """Return ``read()``, once more on a fresh registry where its version was just retired."""
        from feast.errors import FeastObjectNotFoundException

        try:
            return read()
        except (FeastObjectNotFoundException, NoTableError) as error:
            if self._held is not None:
                raise NotServedError(
                    f"{self.version} has no online rows: it was retired, then open the features "
                    f"again, they follow {self._alias} of frame {self._frame}; or its rows are "
                    "lost, then run `marquee reconcile`"
                ) from error
            self._store.registry.refresh()
            self._rows.clear()
        try:
            return read()
        except NoTableError as error:
            raise NotServedError(
                f"{error} has no online rows: they are lost, run `marquee reconcile`"
            ) from error


def _asked(ids: Sequence[str], layout: "RowLayout") -> tuple[tuple[str, ...], list[bytes]]:
    """Return ids and their keys; raises ContractError unless each is a string in UTF-8.

    Making the keys tells strings from the rest; only what failed goes the slower way that says why.
    """
    if not isinstance(ids, (str, bytes)):
        names = tuple(ids)
        try:
            return names, layout.keys(names)
        except (TypeError, UnicodeEncodeError):
            pass
    names = tuple(strings(asked_ids(ids)))
    return names, layout.keys(names)
