from pathlib import Path

import pytest

from marquee.errors import CommandError
from marquee.settings import workspace_folder


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/x", "x/", "a/b", "a\0b", "a\udcff"])
def test_a_name_that_is_no_folders_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandError, match="want the plain name of a folder below"):
        workspace_folder(tmp_path, name)


@pytest.mark.parametrize("name", ["x" * 5000, "x" * 256, "ü" * 128])
def test_a_name_that_no_folder_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandError, match="want at most 255 bytes") as caught:
        workspace_folder(tmp_path, name)
    assert f"got {len(name.encode())}: " in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["simulated", "two words", "ü" * 127, "x" * 255, "..x"])
def test_other_names_are_folders(tmp_path: Path, name: str) -> None:
    folder = workspace_folder(tmp_path, name)
    folder.mkdir()
    assert folder.parent == tmp_path
