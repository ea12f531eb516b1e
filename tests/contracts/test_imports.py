"""Plants one violation of every import rule and sees each of them reported."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["lake", "embedding_store", "feature_repo", "training", "assets", "marquee", "dags"]

# rule: (planted module, its one line)
VIOLATIONS = {
    "the layers": ("lake/planted.py", "import training.schema\n"),
    "the layers, between siblings": (
        "training/planted_store.py",
        "import embedding_store.planted\n",
    ),
    "training knows no orchestrator, tracker or feature store": (
        "training/planted.py",
        "import mlflow\n",
    ),
    "the embedding store and the lake stay light": ("embedding_store/planted.py", "import torch\n"),
    "the feature repository knows no training": (
        "feature_repo/planted.py",
        "import training.schema\n",
    ),
    "assets know no airflow": ("assets/planted.py", "import airflow\n"),
    "dags import nothing of ours and nothing heavy": ("dags/planted.py", "import lake.lake\n"),
    "nothing imports dags": ("assets/planted_dags.py", "import dags\n"),
    "no cycles inside packages": ("lake/errors.py", "import lake.lake\n"),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    copy = tmp_path_factory.mktemp("checkout")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", copy)
    for path, line in VIOLATIONS.values():
        planted = copy / path
        planted.write_text(line + (planted.read_text() if planted.exists() else ""))
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=copy,
        env={"PYTHONPATH": str(copy), "PATH": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("rule", VIOLATIONS)
def test_a_planted_violation_is_reported(report: str, rule: str) -> None:
    path, line = VIOLATIONS[rule]
    contract = rule.partition(",")[0] if rule.startswith("the layers") else rule
    assert f"{contract} BROKEN" in report
    planted, imported = path.removesuffix(".py").replace("/", "."), line.split()[1]
    shown = ".errors -> .lake" if "cycles" in rule else f"{planted} -> {imported}"
    assert shown in report
