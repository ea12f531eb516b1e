"""Every persistent file that a release wrote is read by this one."""

import json
from pathlib import Path
from shutil import copytree

import pytest

from embedding_store.checks import check
from embedding_store.history import Rebuilt, rebuild
from embedding_store.store import EmbeddingStore
from tests.unit.embedding_store.released_format import answers

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
def test_a_history_of_a_released_format_is_kept(released: Path, tmp_path: Path) -> None:
    store = EmbeddingStore(Path(copytree(released / "store", tmp_path / "store")))
    assert rebuild(store) == Rebuilt((), ())


def test_the_first_format_is_among_them() -> None:
    assert [path.name for path in FORMATS] == ["format_1"]
