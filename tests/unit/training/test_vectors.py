from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from lake.digests import digest_files
from lake.hashing import buckets
from training.artifact import load_model
from training.inference import item_features, user_vectors
from training.vectors import embed_items, embed_users


@pytest.fixture(scope="module")
def users(trained: Path, small_lake: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("users")
    embed_users(trained, small_lake.data(small_lake.days[4]), folder, 4)
    return folder


def vectors_of(path: Path) -> np.ndarray:
    embedding = pq.read_table(path)["embedding"].combine_chunks()
    return embedding.flatten().to_numpy().reshape(len(embedding), -1)


def test_every_user_with_a_history_lies_in_its_bucket_in_order(
    users: Path, small_lake: Any
) -> None:
    found = []
    for bucket in range(4):
        ids = pq.read_table(users / f"part-{bucket}.parquet")["user_id"].to_pylist()
        assert ids == sorted(ids)
        assert (buckets(ids, 4) == bucket).all()
        found += ids

    histories = small_lake.data(small_lake.days[4]).histories()
    assert sorted(found) == list(histories.user_ids)


def test_a_vector_is_finite_has_the_published_width_and_a_one_for_the_bias(users: Path) -> None:
    vectors = vectors_of(users / "part-0.parquet")

    assert vectors.dtype == np.float32
    assert vectors.shape[1] == 16
    assert np.isfinite(vectors).all()
    assert (vectors[:, -1] == 1.0).all()


def test_the_default_is_one_row_that_a_user_without_history_has(
    users: Path, trained: Path, small_lake: Any
) -> None:
    data = small_lake.data(small_lake.days[4])
    model = load_model(trained)
    stranger = user_vectors(
        model,
        item_features(model, data.catalogue()),
        data.histories(),
        users=["nobody"],
        as_of=data.as_of,
    )

    assert pq.read_table(users / "default.parquet")["user_id"].to_pylist() == [""]
    np.testing.assert_array_equal(vectors_of(users / "default.parquet"), stranger)


def test_embedding_again_gives_the_same_bytes(
    users: Path, trained: Path, small_lake: Any, tmp_path: Path
) -> None:
    embed_users(trained, small_lake.data(small_lake.days[4]), tmp_path, 4)

    assert digest_files(tmp_path) == digest_files(users)


def test_items_are_those_that_are_valid_also_titles_that_the_model_never_saw(
    trained: Path, small_lake: Any, tmp_path: Path
) -> None:
    data = small_lake.data(small_lake.days[4])  # titles launched on this day
    written = embed_items(trained, data, tmp_path)

    ids = pq.read_table(tmp_path / "part-0.parquet")["item_id"].to_pylist()
    catalogue = data.catalogue()
    valid = catalogue.valid_between(data.as_of, data.as_of.replace(microsecond=1))
    assert ids == [item for item, ok in zip(catalogue.item_ids, valid, strict=True) if ok]
    new = set(ids) - set(load_model(trained).vocabulary.item_ids)
    assert written.figures["from_metadata_alone"] == len(new) > 0
    assert np.isfinite(vectors_of(tmp_path / "part-0.parquet")).all()


def test_figures_say_what_a_person_wants_to_know(
    trained: Path, small_lake: Any, tmp_path: Path
) -> None:
    written = embed_users(trained, small_lake.data(small_lake.days[4]), tmp_path, 1)

    assert written.rows == written.figures["users"]
    assert written.figures["dim"] == 16
    assert written.figures["mean_norm"] > 1.0
    assert written.figures["active_share_28_days"] == 1.0
