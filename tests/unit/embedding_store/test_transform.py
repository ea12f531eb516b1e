import json
from dataclasses import replace
from pathlib import Path

import pytest

from embedding_store.errors import StabilisationError, UnknownEntryError
from embedding_store.transform import Opening, Stabilisation

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


def test_a_record_says_which_frame_it_opens_and_why(path: Path) -> None:
    opens = Opening(beside=1, judged_against="d", because="dim", figures={"item_mean_cosine": 0.25})
    opening = replace(RECORD, frame=2, opens=opens)
    opening.write(path)
    assert Stabilisation.read(path) == opening


@pytest.mark.parametrize("damage", ["", "[]", '{"format_version": 1}', "{}"])
def test_a_damaged_record_is_named(path: Path, damage: str) -> None:
    path.write_text(damage)
    with pytest.raises(StabilisationError, match=f"{path}: want.*stabilise again"):
        Stabilisation.read(path)


def test_a_later_format_asks_for_an_upgrade(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 3}))
    with pytest.raises(UnknownEntryError, match="formats through 2, got 3: upgrade"):
        Stabilisation.read(path)


def test_a_record_of_the_first_format_vouches_for_no_files(path: Path) -> None:
    fields = json.loads(path.read_text())
    del fields["sha256"], fields["files_sha256"]
    path.write_text(json.dumps({**fields, "format_version": 1}))
    assert Stabilisation.read(path) == replace(RECORD, files_sha256={})


@pytest.mark.parametrize(
    "change", [{"reference": True}, {"frame": "1"}, {"files_sha256": {"a": 1}}]
)
def test_a_record_with_a_field_of_another_type_is_refused(path: Path, change: dict) -> None:
    fields = json.loads(path.read_text())
    del fields["sha256"]
    path.write_text(json.dumps({**fields, "format_version": 1, **change}))
    with pytest.raises(StabilisationError, match="is not of the type"):
        Stabilisation.read(path)


def test_a_record_whose_numbers_changed_is_refused(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "frame": 7}))
    with pytest.raises(StabilisationError, match="its seal is"):
        Stabilisation.read(path)
