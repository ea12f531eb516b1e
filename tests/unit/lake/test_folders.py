import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lake.errors import CorruptArtifactError, LakeError, MissingArtifactError
from lake.folders import FILE_LIST, DiskFolders, Folders, S3Folders
from lake.s3 import S3Objects

FILES = {"manifest.json": b"{}", "user/part-0.parquet": b"u" * 100, "empty": b""}


@pytest.fixture(params=["disk", "s3"])
def folders(request: pytest.FixtureRequest, tmp_path: Path) -> Folders:
    if request.param == "disk":
        return DiskFolders(tmp_path)
    return S3Folders(S3Objects(request.getfixturevalue("s3_url")), tmp_path / "cache")


@pytest.fixture
def elsewhere(s3_url: str, tmp_path: Path) -> Folders:
    """The same bucket, seen from a machine that has read nothing yet."""
    return S3Folders(S3Objects(s3_url), tmp_path / "another machine")


def commit(folders: Folders, name: str) -> None:
    with folders.staged() as staged:
        for path, data in FILES.items():
            target = staged / path
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(data)
        folders.commit(staged, name)


def read(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_what_was_committed_is_what_is_read(folders: Folders) -> None:
    assert not folders.exists("versions/a")
    commit(folders, "versions/a")
    assert folders.exists("versions/a")
    assert read(folders.path("versions/a")) == FILES


def test_committing_again_changes_nothing(folders: Folders) -> None:
    commit(folders, "versions/a")
    commit(folders, "versions/a")
    assert read(folders.path("versions/a")) == FILES


def test_a_folder_that_is_not_there_is_named(folders: Folders) -> None:
    with pytest.raises(MissingArtifactError, match="versions/none"):
        folders.path("versions/none")


def test_a_reader_removes_what_killed_downloads_left_a_day_ago(
    folders: Folders, elsewhere: S3Folders, tmp_path: Path
) -> None:
    """Younger ones may be of another container's process, which this one cannot see."""
    if isinstance(folders, DiskFolders):
        pytest.skip("nothing is downloaded")
    commit(folders, "versions/a")
    scratch, gone = tmp_path / "another machine" / "tmp", 2**22 + 1  # above every process id
    old, young, living = (scratch / f"{n}-x" for n in (gone, gone + 1, os.getpid()))
    for folder in (old, young, living):
        folder.mkdir(parents=True)
    for folder in (old, living):
        os.utime(folder, (0, 0))

    elsewhere.path("versions/a")

    assert sorted(scratch.iterdir()) == sorted([young, living])


def test_what_is_not_committed_leaves_nothing(folders: Folders, tmp_path: Path) -> None:
    with folders.staged() as staged:
        (staged / "half").write_bytes(b"x")
    assert not list(tmp_path.rglob("half"))


@pytest.mark.parametrize("folders", ["s3"], indirect=True)
def test_another_machine_reads_the_same_bytes(folders: Folders, elsewhere: Folders) -> None:
    commit(folders, "versions/a")
    assert read(elsewhere.path("versions/a")) == FILES


@pytest.mark.parametrize("folders", ["s3"], indirect=True)
def test_an_upload_cut_short_is_not_seen(
    folders: Folders, elsewhere: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as cut:
        cut.setattr(S3Objects, "put", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            commit(folders, "versions/a")
    assert not folders.exists("versions/a")
    assert not elsewhere.exists("versions/a")
    commit(folders, "versions/a")
    assert read(elsewhere.path("versions/a")) == FILES


@pytest.mark.parametrize("folders", ["s3"], indirect=True)
def test_other_bytes_under_a_listed_name_are_refused(
    folders: Folders, elsewhere: Folders, s3_url: str
) -> None:
    commit(folders, "versions/a")
    S3Objects(s3_url).put("versions/a/manifest.json", b"[]")
    with pytest.raises(CorruptArtifactError, match=r"manifest\.json: want sha256"):
        elsewhere.path("versions/a")


@pytest.mark.parametrize("folders", ["s3"], indirect=True)
def test_a_listed_name_never_leaves_the_folder(
    folders: Folders, elsewhere: Folders, s3_url: str
) -> None:
    commit(folders, "versions/a")
    objects = S3Objects(s3_url)
    listing = objects.get(f"versions/a/{FILE_LIST}").replace(b"manifest.json", b"../../../up")
    objects.put(f"versions/a/{FILE_LIST}", listing)
    with pytest.raises(LakeError, match="relative path without"):
        elsewhere.path("versions/a")


def test_folders_are_listed_by_name(folders: Folders) -> None:
    for name in ("artifacts/tokens/2026-02-01/a", "artifacts/tokens/2026-02-02/b", "versions/a"):
        commit(folders, name)
    assert folders.names("artifacts", depth=3) == [
        "artifacts/tokens/2026-02-01/a",
        "artifacts/tokens/2026-02-02/b",
    ]
    assert folders.names("versions", depth=1) == ["versions/a"]
    assert folders.names("none", depth=1) == []
    assert folders.size("versions/a") >= sum(map(len, FILES.values()))


def test_a_removed_folder_is_gone_for_good(folders: Folders, tmp_path: Path) -> None:
    commit(folders, "versions/a")
    commit(folders, "versions/b")

    for _ in range(2):
        folders.remove("versions/a")

    assert not folders.exists("versions/a")
    assert folders.names("versions", depth=1) == ["versions/b"]
    assert read(folders.path("versions/b")) == FILES
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all("versions/b" in path.as_posix() for path in files)
    with pytest.raises(MissingArtifactError):
        folders.path("versions/a")
    commit(folders, "versions/a")
    assert read(folders.path("versions/a")) == FILES


def test_a_half_removed_folder_is_found_and_removed(
    folders: Folders, elsewhere: S3Folders, s3_url: str
) -> None:
    if isinstance(folders, DiskFolders):
        pytest.skip("a folder on a disk goes in one step")
    commit(folders, "versions/a")
    S3Objects(s3_url).delete("versions/a/manifest.json")
    S3Objects(s3_url).delete(f"versions/a/{FILE_LIST}")

    assert elsewhere.names("versions", depth=1) == ["versions/a"]
    elsewhere.remove("versions/a")
    assert list(S3Objects(s3_url).list("versions")) == []


def test_a_folder_tells_when_it_was_written(folders: Folders) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)  # S3 tells whole seconds
    commit(folders, "versions/a")
    assert before <= folders.written_at("versions/a") <= datetime.now(UTC) + timedelta(seconds=2)
    with pytest.raises(MissingArtifactError, match="versions/none"):
        folders.written_at("versions/none")
