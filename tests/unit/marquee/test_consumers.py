from pathlib import Path

import pytest

from assets.consumer_registry import publisher_of, registered_consumers
from assets.workspace import Workspace
from embedding_store.errors import ContractError
from tests.unit.embedding_store.small_world import SmallWorld
from tests.unit.marquee.conftest import Marquee

FILE = """format_version: 1
team: home-page
service: ranker
frame: 1
dim: 8
freshness_h: 24
coverage: 0.99
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ours.yaml"
    path.write_text(FILE)
    return path


def test_a_registered_service_is_kept_listed_and_checked(
    workspace: Workspace, marquee: Marquee, file: Path
) -> None:
    assert "nobody is registered in small" in marquee("consumers", "list").out

    done = marquee("consumers", "register", str(file))

    assert done.status == 0, done.err
    assert "home-page/ranker is registered in" in done.out
    assert (workspace.root / "consumers" / "home-page.ranker.yaml").read_text() == FILE
    registered = workspace.store.state().consumers["home-page/ranker"]
    assert (registered.frame, registered.contact) == (1, "home-page")
    assert "home-page/ranker 1 8 24 h 99.0%" in marquee("consumers", "list").out.replace("│ ", "")
    assert marquee("consumers", "check").out == "home-page/ranker: kept"


def test_a_service_whose_needs_were_lost_is_told_of(
    workspace: Workspace, marquee: Marquee, file: Path
) -> None:
    assert marquee("consumers", "check").out == "nobody is registered in small"
    marquee("consumers", "register", str(file))
    (workspace.root / "consumers" / "home-page.ranker.yaml").unlink()

    done = marquee("consumers", "check")

    assert done.status == 1
    assert "home-page/ranker: the log knows it, and no file here says what it needs" in done.out


def test_whoever_works_in_the_workspace_holds_up_neither_consumers_nor_a_rollback(
    workspace: Workspace, marquee: Marquee, file: Path
) -> None:
    with workspace.writing():
        assert marquee("consumers", "register", str(file)).status == 0
        assert marquee("rollback", "--why", "a drill").status == 0
        assert marquee("consumers", "remove", "home-page/ranker").status == 0
        assert marquee("promote", "v2").status == 1

    assert [one.number for one in workspace.store.state().stable_switches(1)] == [1, 2, 1]


def test_registering_again_replaces_the_file_and_is_one_entry(
    workspace: Workspace, marquee: Marquee, file: Path
) -> None:
    marquee("consumers", "register", str(file))
    before = workspace.store.state().seq
    file.write_text(FILE.replace("24", "36"))
    assert marquee("consumers", "register", str(file)).status == 0
    assert [one.freshness_h for one in registered_consumers(workspace)] == [36]
    assert workspace.store.state().seq == before


def test_what_is_not_served_cannot_be_asked_for(
    workspace: Workspace, marquee: Marquee, file: Path
) -> None:
    file.write_text(FILE.replace("dim: 8", "dim: 16"))
    done = marquee("consumers", "register", str(file))
    assert done.status == 1
    assert "home-page/ranker wants 16 dimensions, it has 8" in done.err
    assert registered_consumers(workspace) == ()
    assert not workspace.store.state().consumers


def test_a_broken_promise_fails_the_check_and_the_promotion(
    world: SmallWorld, workspace: Workspace, marquee: Marquee, file: Path
) -> None:
    file.write_text(FILE.replace("24", "1"))
    marquee("consumers", "register", str(file))

    checked = marquee("consumers", "check")
    assert checked.status == 1
    assert "wants data of the last 1 h, its is 3.0 h old" in checked.out
    assert "1 of the registered consumers" in checked.err

    assert marquee("rollback").status == 0  # asks nobody
    promoted = marquee("promote", "v2")
    assert promoted.status == 1
    assert "v2 breaks what consumers of frame 1 rely on: home-page/ranker" in promoted.err
    assert world.store.state().stable(1).number == 1


def test_a_frame_that_nothing_serves_fails_only_the_check(marquee: Marquee, file: Path) -> None:
    file.write_text(FILE.replace("frame: 1", "frame: 2"))
    assert marquee("consumers", "register", str(file)).status == 0
    assert "wants frame 2, nothing serves it" in marquee("consumers", "check").out


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("one.yml", FILE, "want a name that ends in .yaml"),
        ("one.yaml", "team: [", "want YAML"),
        ("one.yaml", "!!python/object/apply:os.getcwd []", "want YAML"),
        ("one.yaml", FILE + "fresh: 3\n", "unknown key 'fresh'"),
        ("one.yaml", FILE.replace("dim: 8\n", ""), "dim is missing"),
        ("one.yaml", b"\xff\xfe\x00", "want "),
        ("one.yaml", "[" * 3000, "want YAML .*recursion"),
        ("one.yaml", FILE + "dim: 16\n", "dim stands there twice"),
        ("one.yaml", FILE.replace("home-page", "2026-99-99-"), "team: want such as home-page"),
        ("one.yaml", FILE.replace("dim: 8", "dim: !!bool x"), "want YAML .*want a number"),
        ("one.yaml", FILE.replace("home-page", "&a [x, *a]"), "want YAML .*want a text"),
        ("one.yaml", FILE.replace("24", "9" * 400), "freshness_h: want hours above 0"),
    ],
)
def test_a_file_that_says_nothing_clear_stops_everything_with_its_name(
    workspace: Workspace, name: str, text: str | bytes, message: str
) -> None:
    folder = workspace.root / "consumers"
    folder.mkdir()
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / ".one.yaml.swp").write_text("an editor's")
    with pytest.raises(ContractError, match=rf"{name}: {message}"):
        publisher_of(workspace, by="test")


def test_a_link_to_itself_is_no_file(workspace: Workspace) -> None:
    folder = workspace.root / "consumers"
    folder.mkdir()
    (folder / "one.yaml").symlink_to("one.yaml")
    with pytest.raises(ContractError, match=r"one\.yaml: want a file"):
        registered_consumers(workspace)


def test_a_service_stands_in_one_file(workspace: Workspace) -> None:
    folder = workspace.root / "consumers"
    folder.mkdir()
    for name in ("a.yaml", "b.yaml"):
        (folder / name).write_text(FILE)
    with pytest.raises(ContractError, match=r"b\.yaml: home-page/ranker stands in a\.yaml"):
        registered_consumers(workspace)
