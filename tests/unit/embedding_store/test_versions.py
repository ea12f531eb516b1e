import json
import shutil
from pathlib import Path

import pytest

from embedding_store.errors import CorruptVersionError, UnknownEntryError
from embedding_store.manifest import Manifest
from embedding_store.versions import MANIFEST_FILE, Version, open_version
from tests.unit.embedding_store.small_world import SmallWorld


@pytest.fixture
def folder(served_world: SmallWorld, tmp_path: Path) -> Path:
    """A copy of the stable version, free to be damaged."""
    stable = served_world.store.state().stable(1)
    assert stable is not None
    return Path(
        shutil.copytree(served_world.store.version_folder(stable.digest), tmp_path / stable.digest)
    )


def files(folder: Path) -> list[str]:
    return [record.path for record in open_version(folder).manifest.files]


def test_a_whole_version_is_proven(folder: Path) -> None:
    version = open_version(folder)
    version.verify()
    assert version.digest == folder.name
    assert (version.manifest.rows("user"), version.manifest.rows("item")) == (60, 40)
    assert files(folder) == [
        *(f"user/part-{bucket}.parquet" for bucket in range(4)),
        "item/part-0.parquet",
        "user_default.parquet",
    ]


def test_a_flipped_bit_in_any_file_is_found(folder: Path) -> None:
    version = open_version(folder)
    for name in files(folder):
        path = folder / name
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        with pytest.raises(CorruptVersionError, match=f"{path}: want"):
            version.verify()
        path.write_bytes(whole)
    version.verify()


def test_a_truncated_or_missing_file_is_found(folder: Path) -> None:
    version = open_version(folder)
    path = folder / "user/part-2.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptVersionError, match="restore it from a copy"):
        version.verify()
    path.unlink()
    with pytest.raises(CorruptVersionError, match=r"part-2.parquet is missing"):
        version.verify()


def test_a_damaged_part_is_found_when_it_is_read(folder: Path) -> None:
    version = open_version(folder)
    (folder / "item/part-0.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorruptVersionError):
        _ = version.items


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text('"text"'),
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: path.write_text(path.read_text().replace('"frame": 1', '"frame": 2')),
        lambda path: path.write_text(path.read_text().replace('"dim": 8', '"size": 8')),
    ],
    ids=["missing", "half", "no object", "a string", "no text", "another frame", "other fields"],
)
def test_a_damaged_manifest_is_found(folder: Path, damage: object) -> None:
    damage(folder / MANIFEST_FILE)
    with pytest.raises(CorruptVersionError, match=f"{folder}.*{MANIFEST_FILE}.*from a copy"):
        open_version(folder)


def test_a_manifest_that_the_log_did_not_record_is_found(folder: Path) -> None:
    with pytest.raises(CorruptVersionError, match=r"manifest\.json: want sha256 0{64}, as the log"):
        open_version(folder, manifest_sha256="0" * 64)


def test_a_renamed_folder_is_found(folder: Path) -> None:
    renamed = folder.rename(folder.with_name("0" * 64))
    with pytest.raises(CorruptVersionError, match=f"got {folder.name}: restore"):
        open_version(renamed)


def test_a_later_format_asks_for_an_upgrade(folder: Path) -> None:
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 3}))
    with pytest.raises(UnknownEntryError, match="formats through 2, got 3: upgrade"):
        open_version(folder)


def test_the_manifest_says_what_consumers_need(folder: Path) -> None:
    fields = json.loads((folder / MANIFEST_FILE).read_text())
    assert (fields["metric"], fields["dtype"], fields["normalised"]) == (
        "inner_product",
        "float32",
        False,
    )
    assert (fields["frame"], fields["dim"], len(fields["default_user"])) == (1, 8, 8)
    assert fields["origin"]["day"] == "2024-03-03"
    assert fields["coverage"] == {"covered": 60, "definition": "any token", "required": 60}
    assert set(fields["transform_sha256"]) == {"user", "item"}
    assert len(fields["reference"]) == 64


def test_a_manifest_reads_back_equal(folder: Path) -> None:
    data = (folder / MANIFEST_FILE).read_bytes()
    manifest = Manifest.from_bytes(data)
    assert manifest.to_bytes() == data
    assert Version(folder, manifest).digest == folder.name
