"""Every persistent file that a release wrote is read by this one."""

import json
from pathlib import Path
from shutil import copytree

import pytest

from embedding_store.checks import check
from embedding_store.history import Rebuilt, rebuild
from embedding_store.manifest import Manifest
from embedding_store.publisher import Publisher
from embedding_store.store import EmbeddingStore
from tests.unit.embedding_store.released_format import answers
from tests.unit.embedding_store.small_world import instant

FORMATS = sorted(Path(__file__).parent.glob("format_*"))


@pytest.mark.parametrize("released", FORMATS, ids=lambda path: path.name)
def test_a_store_of_a_released_format_answers_as_it_did(released: Path) -> None:
    want = json.loads((released / "answers.json").read_text())
    got = answers(released / "store")
    assert {key: got[key] for key in want if key not in {"vectors", "top items"}} == {
        key: want[key] for key in want if key not in {"vectors", "top items"}
    }
    assert got["vectors"] == want["vectors"]
    assert [one for one, _ in got["top items"]] == [one for one, _ in want["top items"]]
    assert check(EmbeddingStore(released / "store")) == []


@pytest.mark.parametrize("released", FORMATS, ids=lambda path: path.name)
def test_manifests_of_a_released_format_are_written_as_they_were(released: Path) -> None:
    """Byte for byte: their digests name folders, and the log holds their checksums."""
    manifests = sorted((released / "store/versions").glob("*/manifest.json"))
    assert manifests
    for path in manifests:
        manifest = Manifest.from_bytes(path.read_bytes())
        assert manifest.to_bytes() == path.read_bytes()
        assert manifest.digest == path.parent.name


@pytest.mark.parametrize("released", FORMATS, ids=lambda path: path.name)
def test_a_history_of_a_released_format_is_kept(released: Path, tmp_path: Path) -> None:
    store = EmbeddingStore(Path(copytree(released / "store", tmp_path / "store")))
    assert rebuild(store) == Rebuilt((), ())


def test_the_first_format_is_among_them() -> None:
    assert [path.name for path in FORMATS] == ["format_1"]


@pytest.mark.parametrize("released", FORMATS, ids=lambda path: path.name)
def test_versions_of_a_released_format_are_promoted_and_rolled_back(
    released: Path, tmp_path: Path
) -> None:
    """What was judged then counts, also where more is judged by now."""
    store = EmbeddingStore(Path(copytree(released / "store", tmp_path / "store")))
    publisher, stable = Publisher(store, by="test"), store.state().stable(1)
    assert stable is not None
    back = publisher.rollback(1, effective_at=instant(20), why="an example")
    assert back.number < stable.number
    publisher.promote(
        "stable",
        stable.number,
        judged_against=stable.judged_against,
        effective_at=instant(21),
        why="an example",
        again=True,
    )
    assert store.state().stable(1) == stable
