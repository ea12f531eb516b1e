import os
import subprocess
import sys

HEAVY = {"torch", "sklearn", "scipy", "feast", "mlflow", "great_expectations", "matplotlib"}


def test_what_takes_seconds_to_import_is_loaded_by_the_assets_that_need_it() -> None:
    """Every run is a process of its own that loads the definitions first."""
    code = f"import sys, assets.definitions; print(*({HEAVY} & set(sys.modules)))"
    environment = {name: value for name, value in os.environ.items() if "MARQUEE" not in name}
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == []
