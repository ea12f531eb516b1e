"""Every token file that a release wrote is read by this one."""

import json
from pathlib import Path

import pytest

from tests.unit.training.tokens.released_format import CONFIG, MIDNIGHT, SCHEMA, answers, write
from training.tokens.histories import read_histories
from training.tokens.partial import read_config, read_schema

FORMATS = sorted(Path(__file__).parent.glob("format_*"))


@pytest.mark.parametrize("released", FORMATS, ids=lambda path: path.name)
def test_tokens_of_a_released_format_answer_as_they_did(released: Path) -> None:
    assert answers(released) == json.loads((released / "answers.json").read_text())
    assert read_config(released / "2026-02-01") == CONFIG
    assert read_schema(released / "2026-02-01") == SCHEMA


@pytest.mark.parametrize("released", FORMATS, ids=lambda path: path.name)
def test_the_same_events_give_the_same_token_files_as_then(released: Path, tmp_path: Path) -> None:
    """Models trained on either have the same inputs."""
    write(tmp_path)

    for day in ("2026-02-01", "2026-02-02"):
        for file in sorted((released / day).glob("tokens-*.arrow")):
            assert (tmp_path / day / file.name).read_bytes() == file.read_bytes()


def test_days_of_a_released_format_join_with_days_of_this_one(tmp_path: Path) -> None:
    write(tmp_path)
    folders = [FORMATS[0] / "2026-02-01", tmp_path / "2026-02-02"]

    assert read_histories(folders, as_of=MIDNIGHT).num_tokens == 2
    assert answers(tmp_path) == answers(FORMATS[0])


def test_the_first_format_is_among_them() -> None:
    assert [path.name for path in FORMATS] == ["format_1"]
