import subprocess
import sys

import embedding_store

HEAVY = {"torch", "dagster", "mlflow", "feast", "pandas", "polars", "duckdb", "boto3"}


def test_the_public_names_are_sorted_and_there() -> None:
    assert embedding_store.__all__ == sorted(embedding_store.__all__)
    assert all(hasattr(embedding_store, name) for name in embedding_store.__all__)


def test_a_consumer_loads_nothing_heavy() -> None:
    code = "import sys, embedding_store; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())
