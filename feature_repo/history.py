"""Point-in-time joins: what was served at an instant, not what is served now.

The join itself is Feast's ``get_historical_features`` over the served history. Around it:

- rows are asked for at the instant of the switch that was in effect, once per id and switch, which
  has the same answer (what is served changes only at switches) and lets nothing be dropped as a
  duplicate, as Feast's dask store does with equal rows;
- the history holds a row of nobody (id ``""``, the default vector) per switch, which must come
  back: a switch whose part is lost would otherwise be answered, silently, by the one before it;
- a row of an older version than the one in effect means that the id had left: not found, default.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedding_store.contracts import EMBEDDING, ID_COLUMNS, Float32, Side
from feature_repo.dask_tokens import name_vectors_by_their_bytes
from feature_repo.errors import HistoryError

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureService, FeatureStore

NOBODY = ""
"""The id whose row is a part's default vector."""
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


def join_served(
    store: "FeatureStore",
    services: Mapping[Side, "FeatureService"],
    rows: "pd.DataFrame",
    *,
    allow_unserved: bool,
) -> TrainingFrame:
    """Return what ``services`` of one frame served at each row; see ``Features.training_frame``."""
    service = next(iter(services.values()))
    switches = [
        (datetime.fromisoformat(at), name) for at, name in json.loads(service.tags["switches"])
    ]
    in_effect = _switch_in_effect([at for at, _ in switches], rows)
    num_early = int((in_effect < 0).sum())
    if num_early and not allow_unserved:
        raise HistoryError(
            f"{num_early} of {len(rows)} rows are from before the first switch "
            f"({switches[0][0].isoformat()}), when nothing was served: leave them out, or ask for "
            "them with allow_unserved=True, and they come back as not served"
        )
    names = np.array([name for _, name in switches] + [None], dtype=object)
    sides = {
        side: _join_side(store, one, side, rows[ID_COLUMNS[side]].to_numpy(), in_effect, switches)
        for side, one in services.items()
    }
    return TrainingFrame(versions=names[in_effect], sides=sides)


def _switch_in_effect(instants: list[datetime], rows: "pd.DataFrame") -> npt.NDArray[np.int64]:
    """Return the index of the last switch at or before each row's instant, or -1."""
    import pandas as pd

    column = rows[EVENT_TIMESTAMP]
    if not isinstance(column.dtype, pd.DatetimeTZDtype):
        raise HistoryError(f"{EVENT_TIMESTAMP}: want instants with a time zone, got {column.dtype}")
    if column.isna().any():
        raise HistoryError(f"{EVENT_TIMESTAMP}: {int(column.isna().sum())} rows have none")
    asked = column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    switched = np.array([at.replace(tzinfo=None) for at in instants], dtype="datetime64[us]")
    in_effect: npt.NDArray[np.int64] = np.searchsorted(switched, asked, side="right") - 1
    return in_effect


def _join_side(
    store: "FeatureStore",
    service: "FeatureService",
    side: Side,
    ids: npt.NDArray[np.object_],
    in_effect: npt.NDArray[np.int64],
    switches: list[tuple[datetime, str]],
) -> ServedThen:
    import pandas as pd

    column = ID_COLUMNS[side]
    asked = pd.DataFrame({column: ids, "switch": in_effect})
    used = np.unique(in_effect[in_effect >= 0])
    unique = pd.concat(
        [asked[in_effect >= 0], pd.DataFrame({column: NOBODY, "switch": used})]
    ).drop_duplicates(ignore_index=True)
    vectors: Float32 = np.zeros((len(ids), int(service.tags["dim"])), dtype=np.float32)
    if unique.empty:
        return ServedThen(np.zeros(len(ids), dtype=bool), vectors)
    answer = _as_served(_historical(store, service, unique, column, switches), side, switches)
    lost = sorted(set(used.tolist()) - set(answer.loc[answer[column] == NOBODY, "switch"]))
    if lost:
        missing = ", ".join(f"{switches[one][1]} ({switches[one][0].isoformat()})" for one in lost)
        raise HistoryError(
            f"the served history of {side}s has no part for the switch to {missing}: run "
            "`marquee reconcile`, which rebuilds it from the log"
        )
    position = asked.merge(
        answer.assign(position=np.arange(len(answer)))[[column, "switch", "position"]],
        on=[column, "switch"],
        how="left",
    )["position"]
    stacked: Float32 = np.stack(answer[EMBEDDING].tolist()).astype(np.float32)
    defaults = answer.assign(position=np.arange(len(answer)))[answer[column] == NOBODY]
    default_of = defaults.set_index("switch")["position"]
    is_found = position.notna().to_numpy() & (asked[column] != NOBODY).to_numpy()
    source = position.where(is_found, asked["switch"].map(default_of))
    served = source.notna().to_numpy()
    vectors[served] = stacked[source[served].to_numpy(dtype=np.int64)]
    return ServedThen(is_found, vectors)


def _historical(
    store: "FeatureStore",
    service: "FeatureService",
    unique: "pd.DataFrame",
    column: str,
    switches: list[tuple[datetime, str]],
) -> "pd.DataFrame":
    import pandas as pd

    instants = pd.to_datetime([at for at, _ in switches], utc=True)
    asked = pd.DataFrame(
        {
            column: unique[column],
            EVENT_TIMESTAMP: instants[unique["switch"].to_numpy()],
            "switch": unique["switch"],
        }
    )
    name_vectors_by_their_bytes()
    job = store.get_historical_features(entity_df=asked, features=service, full_feature_names=True)
    answer: pd.DataFrame = job.to_df()
    return answer


def _as_served(
    answer: "pd.DataFrame", side: Side, switches: list[tuple[datetime, str]]
) -> "pd.DataFrame":
    """Return the rows that are of the version in effect, once each, with plain column names."""
    answer = answer.rename(
        columns={f"{side}_embedding__{name}": name for name in (EMBEDDING, "version")}
    )
    names: Any = np.array([name for _, name in switches], dtype=object)
    is_current: npt.NDArray[np.bool_] = (
        answer["version"].to_numpy(dtype=object) == names[answer["switch"].to_numpy()]
    )
    return answer.loc[is_current].reset_index(drop=True)
