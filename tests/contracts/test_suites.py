import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_make_test_runs_every_folder_of_tests_once() -> None:
    makefile = (ROOT / "Makefile").read_text()
    given = re.findall(r"^test-\S+: TESTS = (?!--storage)(.+)$", makefile, flags=re.MULTILINE)
    named = sorted(folder for line in given for folder in line.split())
    folders = sorted(path.parent for path in (ROOT / "tests").rglob("test_*.py"))

    for folder in set(folders):
        inside = folder.relative_to(ROOT).as_posix()
        assert [one for one in named if f"{inside}/".startswith(f"{one}/")], inside
    assert len(named) == len(set(named))
