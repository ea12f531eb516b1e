import subprocess
import sys
from pathlib import Path

import pytest


def said(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_feast_comes_without_torch_and_without_checks_of_its_own() -> None:
    program = (
        "import feature_repo.registry, sys, feast, inspect;"
        "print('torch' in sys.modules, 'TypeCheckMemo' in feast.Entity.__init__.__code__.co_names);"
        "from feast.torch_wrapper import get_torch;"
        "print(get_torch().tensor([1.0]).shape[0])"
    )

    assert said(program) == ["False", "False", "1"]


@pytest.mark.parametrize("first", ["import feast, feature_repo", "import feature_repo, feast"])
def test_other_packages_are_checked_as_ever(first: str, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(
        f"{first}\n"
        "import typeguard\n"
        "@typeguard.typechecked\n"
        "def double(number: int) -> int:\n"
        "    return 2 * number\n"
        "try:\n"
        "    double('ha')\n"
        "except typeguard.TypeCheckError:\n"
        "    print('checked')\n"
    )

    assert said(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import other") == ["checked"]
