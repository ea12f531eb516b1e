import json
from pathlib import Path

import pytest

from embedding_store.errors import StabilisationError, UnknownEntryError
from embedding_store.transform import Stabilisation

RECORD = Stabilisation(
    frame=1,
    dim=2,
    reference=None,
    common_items=0,
    common_users=0,
    singular_values=(2.0, 1.0),
    transform_sha256={"user": "u", "item": "i"},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "stabilisation.json"
    RECORD.write(path)
    return path


def test_a_record_reads_back_equal(path: Path) -> None:
    assert Stabilisation.read(path) == RECORD


@pytest.mark.parametrize("damage", ["", "[]", '{"format_version": 1}', "{}"])
def test_a_damaged_record_is_named(path: Path, damage: str) -> None:
    path.write_text(damage)
    with pytest.raises(StabilisationError, match=f"{path}: want.*stabilise again"):
        Stabilisation.read(path)


def test_a_later_format_asks_for_an_upgrade(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 2}))
    with pytest.raises(UnknownEntryError, match="format 1, got 2: upgrade"):
        Stabilisation.read(path)
