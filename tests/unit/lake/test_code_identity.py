import sys
from pathlib import Path

import pytest

from lake.code_identity import OURS, _module, code_identity


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a package of two modules, one importing the other, that counts as ours."""
    folder = tmp_path / "planted"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "step.py").write_text('"""Doc."""\nfrom planted import inner\nGAP = inner.GAP\n')
    (folder / "inner.py").write_text("GAP = 1\n")
    (folder / "apart.py").write_text("OTHER = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("lake.code_identity.OURS", OURS | {"planted"})
    yield folder
    for name in [name for name in sys.modules if name.startswith("planted")]:
        del sys.modules[name]


def identity() -> str:
    code_identity.cache_clear()
    _module.cache_clear()
    return code_identity("planted.step")


def test_comments_and_docstrings_change_nothing(package: Path) -> None:
    before = identity()
    (package / "step.py").write_text(
        '"""Another text."""\n# a comment\nfrom planted import inner\n\n'
        'GAP = inner.GAP\n"""Below a field."""\n'
    )
    assert identity() == before


def test_a_change_in_a_reached_module_changes_the_step(package: Path) -> None:
    before = identity()
    (package / "inner.py").write_text("GAP = 2\n")
    assert identity() != before


def test_a_change_elsewhere_changes_nothing(package: Path) -> None:
    before = identity()
    (package / "apart.py").write_text("OTHER = 2\n")
    assert identity() == before


def test_a_library_counts_with_its_version(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "inner.py").write_text("import numpy\nGAP = 1\n")
    before = identity()
    monkeypatch.setattr("lake.code_identity.version", lambda name: "99")
    assert identity() != before
