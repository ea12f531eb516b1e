from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training import inference
from training.artifact import Model, load_model
from training.contracts import Histories
from training.features.items import ItemFeatures
from training.features.tokens import build_token_features
from training.inference import item_features, item_vectors, user_vectors
from training.model.batch import gather_batch
from training.packing import pack, query_windows


@pytest.fixture(scope="module")
def case(trained: Path, small_lake: Any) -> tuple[Model, ItemFeatures, Histories]:
    data = small_lake.data(small_lake.days[3])
    model = load_model(trained)
    return model, item_features(model, data.catalogue()), data.histories()


def test_a_vector_does_not_depend_on_who_else_is_asked(case: Any) -> None:
    model, items, histories = case
    some = histories.user_ids[3:40:5]

    everyone = user_vectors(model, items, histories, users=histories.user_ids, as_of=model.as_of)[
        3:40:5
    ]
    alone = np.concatenate(
        [user_vectors(model, items, histories, users=[u], as_of=model.as_of) for u in some]
    )

    np.testing.assert_allclose(everyone, alone, rtol=0, atol=1e-5)


def test_the_number_of_threads_changes_no_bit(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, items, histories = case
    monkeypatch.setattr(inference, "POSITIONS_PER_FORWARD", 100)  # many forwards

    def on(num_threads: int) -> Any:
        same = replace(model, config=replace(model.config, num_threads=num_threads))
        return user_vectors(same, items, histories, users=histories.user_ids, as_of=model.as_of)

    one = on(1)
    assert np.array_equal(on(2), one)
    assert np.array_equal(on(3), one)


def test_time_passing_changes_a_vector(case: Any) -> None:
    model, items, histories = case
    users = histories.user_ids[:5]

    now = user_vectors(model, items, histories, users=users, as_of=model.as_of)
    later = user_vectors(
        model, items, histories, users=users, as_of=model.as_of + timedelta(days=20)
    )

    assert not np.allclose(now, later)


def test_the_last_dimension_is_one_for_users_and_the_bias_for_items(case: Any) -> None:
    model, items, histories = case
    users = user_vectors(model, items, histories, users=histories.user_ids[:3], as_of=model.as_of)

    assert (users[:, -1] == 1.0).all()
    assert item_vectors(model, items).shape == (len(items.ids), model.config.model.published_dim)
    assert len(np.unique(item_vectors(model, items)[:, -1])) > 10


def test_no_more_is_read_of_a_long_history_than_its_window(case: Any) -> None:
    model, items, histories = case
    max_len = 8
    short = replace(model.config.model, max_seq_len=max_len)
    model = replace(model, config=replace(model.config, model=short))
    assert np.diff(histories.offsets).max() > 2 * max_len

    found = user_vectors(model, items, histories, users=histories.user_ids, as_of=model.as_of)

    tokens = build_token_features(histories, model.spec, items, as_of=model.as_of)
    everyone = np.arange(histories.num_users)
    packed = pack(query_windows(tokens.offsets, max_len=max_len, users=everyone))
    with torch.inference_mode():
        encoding_MD, _ = model.network.items(items)
        hidden_PD = model.network.hidden(encoding_MD, gather_batch(tokens, packed))
        expected = model.network.user_vectors(hidden_PD[torch.from_numpy(packed.lasts)])
    np.testing.assert_allclose(found[packed.window_W], expected.numpy(), rtol=0, atol=1e-5)
