import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lake.digests import digest_files
from training.artifact import load_model
from training.errors import NoDataError
from training.pretrain import pretrain
from training.recipes import tiny


def test_two_runs_give_the_same_bytes(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    pretrain(small_lake.data(small_lake.days[3]), tiny(), tmp_path, tracker)

    assert digest_files(tmp_path) == digest_files(trained)


def test_another_seed_gives_other_weights(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    config = replace(tiny(), seed=2, num_epochs=1)
    pretrain(small_lake.data(small_lake.days[3]), config, tmp_path, tracker)

    digests = [digest_files(folder)["model.safetensors"] for folder in (tmp_path, trained)]
    assert digests[0] != digests[1]


def test_the_order_of_folders_changes_nothing(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    data = small_lake.data(small_lake.days[3])
    data = replace(data, token_folders=data.token_folders[::-1])
    pretrain(data, tiny(), tmp_path, tracker)

    assert digest_files(tmp_path) == digest_files(trained)


def test_later_days_are_not_seen(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    data = small_lake.data(small_lake.days[3])
    data = replace(data, token_folders=small_lake.data(small_lake.days[5]).token_folders)
    pretrain(data, tiny(), tmp_path, tracker)

    assert digest_files(tmp_path) == digest_files(trained)


def test_lineage_says_what_the_model_was_made_from(trained: Path, small_lake: Any) -> None:
    lineage = json.loads((trained / "lineage.json").read_text())

    assert lineage["kind"] == "pretrained"
    assert lineage["base"] is None
    assert lineage["as_of"] == small_lake.data(small_lake.days[3]).as_of.isoformat()
    assert len(lineage["data"]) == len(lineage["config"]) == 64


def test_the_model_knows_its_vocabulary_and_its_instant(trained: Path, small_lake: Any) -> None:
    data = small_lake.data(small_lake.days[3])
    model = load_model(trained)

    assert model.vocabulary.item_ids == data.vocabulary().item_ids
    assert model.as_of == data.as_of
    assert model.config == tiny()


def test_nothing_before_the_instant_is_refused(
    small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    data = replace(small_lake.data(small_lake.days[0]), as_of=datetime(2020, 1, 1, tzinfo=UTC))

    with pytest.raises(NoDataError, match="no token before 2020-01-01"):
        pretrain(data, tiny(), tmp_path, tracker)
