"""What was served at an instant, not what is served now.

The join itself is Feast's ``get_historical_features`` over the served history. Around it:

- the history holds a row of nobody (id ``""``, the default vector) per switch, which must come
  back: a switch whose part is lost would otherwise be answered, silently, by the one before it;
- a row of an older version than the one in effect means that the id had left: not found, default.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embedding_store.contracts import DEFAULT_USER_ID, EMBEDDING, ID_COLUMNS, Float32, Side
from feature_repo.errors import HistoryError

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureService, FeatureStore

EVENT_TIMESTAMP = "event_timestamp"


@dataclass(frozen=True, slots=True)
class ServedThen:
    """Embeddings of one side as they were served at the instants of N rows."""

    is_found: npt.NDArray[np.bool_]
    """bool[N]: False where the version of that instant had no such id."""
    vectors: Float32
    """float32[N, dim]; the version's default vector where not found; zeros where not served."""


@dataclass(frozen=True, slots=True)
class TrainingFrame:
    """What was served at each of N rows, in the order and number of the rows asked for."""

    versions: npt.NDArray[np.object_]
    """str[N]: the version that was ``stable`` at the row's instant; None where none was yet."""
    sides: Mapping[Side, ServedThen]

    @property
    def is_served(self) -> npt.NDArray[np.bool_]:
        """bool[N]: False before the first switch, when there was nothing to serve."""
        return np.fromiter((one is not None for one in self.versions), bool, len(self.versions))

    @property
    def users(self) -> ServedThen:
        """The users' embeddings."""
        return self.sides["user"]

    @property
    def items(self) -> ServedThen:
        """The items' embeddings."""
        return self.sides["item"]


@dataclass(frozen=True, slots=True)
class _Switches:
    """What ``stable`` meant from when on."""

    instants: npt.NDArray[np.datetime64]
    names: npt.NDArray[np.object_]
    """One more than instants: the last stands for "before the first switch", at index -1."""

    @classmethod
    def of(cls, service: "FeatureService") -> "_Switches":
        switches = json.loads(service.tags["switches"])
        instants = [datetime.fromisoformat(at).replace(tzinfo=None) for at, _ in switches]
        names = np.array([*(name for _, name in switches), None], dtype=object)
        return cls(np.array(instants, dtype="datetime64[us]"), names)

    def in_effect(self, column: "pd.Series[pd.Timestamp]") -> npt.NDArray[np.int64]:
        """Return the index of the last switch at or before each instant, or -1."""
        if getattr(column.dtype, "tz", None) is None:
            raise HistoryError(
                f"{EVENT_TIMESTAMP}: want instants with a time zone, got {column.dtype}"
            )
        if column.isna().any():
            raise HistoryError(f"{EVENT_TIMESTAMP}: {int(column.isna().sum())} rows have none")
        asked = column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        found = np.searchsorted(self.instants, asked.astype("datetime64[us]"), side="right")
        return found.astype(np.int64) - 1


def join_served(
    store: "FeatureStore",
    services: Mapping[Side, "FeatureService"],
    rows: "pd.DataFrame",
    *,
    allow_unserved: bool,
) -> TrainingFrame:
    """Return what ``services`` of one frame served at each row; see ``Features.training_frame``."""
    switches = _Switches.of(next(iter(services.values())))
    in_effect = switches.in_effect(rows[EVENT_TIMESTAMP])
    num_early = int((in_effect < 0).sum())
    if num_early and not allow_unserved:
        raise HistoryError(
            f"{num_early} of {len(rows)} rows are from before the first switch "
            f"({switches.instants[0]}Z), when nothing was served: leave them out, or ask for them "
            "with allow_unserved=True, and they come back as not served"
        )
    sides = {
        side: _join_side(store, service, side, rows[ID_COLUMNS[side]], in_effect, switches)
        for side, service in services.items()
    }
    return TrainingFrame(versions=switches.names[in_effect], sides=sides)


def _join_side(
    store: "FeatureStore",
    service: "FeatureService",
    side: Side,
    ids: "pd.Series[str]",
    in_effect: npt.NDArray[np.int64],
    switches: _Switches,
) -> ServedThen:
    dim = int(service.tags["dim"])
    is_served = in_effect >= 0
    vectors: Float32 = np.zeros((len(ids), dim), dtype=np.float32)
    is_found = np.zeros(len(ids), dtype=bool)
    if not is_served.any():
        return ServedThen(is_found, vectors)
    used, which = np.unique(in_effect[is_served], return_inverse=True)
    asked = [*ids.to_numpy()[is_served], *[DEFAULT_USER_ID] * len(used)]
    at = np.concatenate([in_effect[is_served], used])
    answer = _historical(store, service, side, asked, switches.instants[at])
    is_current = answer["version"].to_numpy() == switches.names[at]
    lost = [switches.names[one] for one in used[~is_current[len(which) :]]]
    if lost:
        raise HistoryError(
            f"the served history of {side}s has no part for the switch to {', '.join(lost)}: run "
            "`marquee reconcile`, which rebuilds it from the log"
        )
    current: Any = answer[EMBEDDING].filter(pa.array(is_current)).combine_chunks()
    held: Float32 = current.flatten().to_numpy().reshape(-1, dim)
    source = np.cumsum(is_current) - 1
    default = source[len(which) + which]
    is_current = is_current[: len(which)]
    vectors[is_served] = held[np.where(is_current, source[: len(which)], default)]
    is_found[is_served] = is_current & (ids.to_numpy()[is_served] != DEFAULT_USER_ID)
    return ServedThen(is_found, vectors)


def _historical(
    store: "FeatureStore",
    service: "FeatureService",
    side: Side,
    ids: Sequence[str],
    instants: npt.NDArray[np.datetime64],
) -> pa.Table:
    """Return Feast's answer for every id at the instant of the switch that was in effect.

    What is served changes only at switches, so that is what was served at the row's own instant.
    """
    import pandas as pd

    rows = pd.DataFrame(
        {ID_COLUMNS[side]: ids, EVENT_TIMESTAMP: pd.to_datetime(instants, utc=True)}
    )
    view = service.feature_view_projections[0].name
    answer = store.get_historical_features(
        entity_df=rows, features=[f"{view}:{EMBEDDING}", f"{view}:version"]
    ).to_arrow()
    if answer.num_rows != len(rows):
        raise HistoryError(f"{view}: {len(rows)} rows were joined, {answer.num_rows} came back")
    return answer
