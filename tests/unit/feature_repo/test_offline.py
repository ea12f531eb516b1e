from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureView, Field, FileSource
from feast.types import String

from feature_repo.errors import HistoryError
from feature_repo.offline import ServedHistoryOfflineStore
from feature_repo.rendering import _entity

START = datetime(2026, 1, 1, tzinfo=UTC)


def view(folder: Path, **changes: object) -> FeatureView:
    source = FileSource(name="history", path=str(folder), timestamp_field="event_timestamp")
    return FeatureView(
        name="seen",
        entities=[_entity("user")],
        schema=[Field(name="user_id", dtype=String), Field(name="label", dtype=String)],
        source=source,
        **changes,
    )


def write_part(path: Path, ids: list[str], days: list[float], labels: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    instants = [START + timedelta(days=day) for day in days]
    table = pa.table(
        {
            "user_id": ids,
            "event_timestamp": pa.array(instants, pa.timestamp("us", "UTC")),
            "label": labels,
            "vector": pa.array([[float(len(one)), 1.0] for one in labels], pa.list_(pa.float32())),
        }
    )
    pq.write_table(table, path)


def join(folder: Path, ids: list[str], days: list[float], **changes: object) -> pd.DataFrame:
    rows = pd.DataFrame(
        {
            "user_id": ids,
            "event_timestamp": pd.to_datetime([START + timedelta(days=day) for day in days]),
            "place": range(len(ids)),
        }
    )
    one = view(folder, **changes)
    return ServedHistoryOfflineStore.get_historical_features(
        config=SimpleNamespace(repo_path=None),
        feature_views=[one],
        feature_refs=["seen:label", "seen:vector"],
        entity_df=rows,
        registry=None,
        project="test",
        full_feature_names=True,
    ).to_df()


def test_each_row_gets_the_newest_row_of_its_id_at_or_before_its_instant(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    history = []
    for number in range(6):
        ids = [f"u{one}" for one in draw.integers(0, 8, size=12)]
        days = draw.integers(0, 20, size=12).astype(float).tolist()
        labels = [f"{number}.{row}" for row in range(12)]
        write_part(tmp_path / f"part-{number}.parquet", ids, days, labels)
        history += list(zip(ids, days, labels, strict=True))
    asked = [(f"u{draw.integers(0, 10)}", float(draw.integers(-2, 25))) for _ in range(300)]

    answer = join(tmp_path, *(list(one) for one in zip(*asked, strict=True)))

    assert answer["place"].tolist() == list(range(300))
    for row, (user, day) in enumerate(asked):
        before = [one for one in history if one[0] == user and one[1] <= day]
        # of rows at one instant, the last written counts
        want = max(enumerate(before), key=lambda one: (one[1][1], one[0]))[1][2] if before else None
        assert answer["seen__label"][row] == want, (user, day)


def test_rows_of_unknown_ids_alone_come_back_empty(tmp_path: Path) -> None:
    write_part(tmp_path / "part-0.parquet", ["a"], [1.0], ["x"])

    answer = join(tmp_path, ["b", "c", "b"], [2.0, 2.0, 2.0])

    assert answer["user_id"].tolist() == ["b", "c", "b"]
    assert answer["seen__label"].isna().all()
    assert answer["seen__vector"].isna().all()


def test_equal_rows_are_all_answered(tmp_path: Path) -> None:
    write_part(tmp_path / "part-0.parquet", ["a"], [1.0], ["x"])

    assert join(tmp_path, ["a", "a"], [2.0, 2.0])["seen__label"].tolist() == ["x", "x"]


def test_vectors_come_back_as_written(tmp_path: Path) -> None:
    write_part(tmp_path / "part-0.parquet", ["a", "b"], [1.0, 1.0], ["x", "yy"])

    answer = join(tmp_path, ["b", "a"], [1.0, 1.0])

    assert [one.tolist() for one in answer["seen__vector"]] == [[2.0, 1.0], [1.0, 1.0]]


def test_a_folder_without_history_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="holds no history"):
        join(tmp_path, ["a"], [1.0])


def test_a_view_that_expires_is_refused_rather_than_ignored(tmp_path: Path) -> None:
    write_part(tmp_path / "part-0.parquet", ["a"], [1.0], ["x"])

    with pytest.raises(HistoryError, match="no ttl"):
        join(tmp_path, ["a"], [1.0], ttl=timedelta(days=1))
