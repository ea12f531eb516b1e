from pathlib import Path
from typing import Any

import pytest

from lake.digests import digest_files
from training.__main__ import find_data, main


def test_a_folder_in_the_layout_of_a_lake_is_enough(
    trained: Path, small_lake: Any, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    through = str(small_lake.days[3])

    status = main(["tiny", "--data", str(small_lake.root), "--out", str(out), "--through", through])

    assert status == 0
    assert digest_files(out) == digest_files(trained)
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == []


def test_all_days_are_found(small_lake: Any) -> None:
    assert find_data(small_lake.root, through=None) == small_lake.data(small_lake.days[-1])


def test_a_wrong_recipe_is_one_line_and_a_status(
    small_lake: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    status = main(["nothing", "--data", str(small_lake.root), "--out", str(tmp_path / "model")])

    assert status == 1
    assert "no recipe 'nothing'" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_tokens_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(["tiny", "--data", str(tmp_path), "--out", str(tmp_path / "model")]) == 1
    assert "no folder interaction_tokens" in caplog.text


def test_what_stands_is_never_replaced(small_lake: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["tiny", "--data", str(small_lake.root), "--out", str(tmp_path)])


def test_weights_are_shared_with_nobody(
    small_lake: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "model"

    status = main(["tiny", "--data", str(small_lake.root), "--out", str(out), "--sharded"])

    assert status == 1
    assert "sharded weights want several processes, got one: start them with torch" in caplog.text
    assert not out.exists()
