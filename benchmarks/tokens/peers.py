"""The data preparation of recommender libraries, each in an environment of its own.

    python -m benchmarks.tokens.peers --install rectools <folder>      # makes the environment
    <folder>/bin/python benchmarks/tokens/peers.py rectools <raw folder>

Imports nothing of the project: the environments do not have it. They are given less to do than the
pipelines beside them: events are neither validated nor merged, and have no facets.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = {
    # torch first and exactly, as everywhere: an unpinned one may bring gigabytes of CUDA
    "rectools": [["torch==2.13.0"], ["rectools[torch]==0.19.0", "pyarrow<20"]],
    # 1.2.1 declares a ray that has no wheel for this Python, hence --no-deps
    "recbole": [
        ["torch==2.13.0", "numpy<2"],
        ["--no-deps", "recbole==1.2.1"],
        ["pandas==2.2.3", "pyarrow<20", "scipy", "pyyaml", "tqdm", "scikit-learn", "tensorboard"],
        ["colorlog==4.7.2", "colorama", "tabulate", "plotly", "texttable", "thop", "psutil"],
    ],
    "scan_duckdb": [["duckdb"]],
}
ACTIONS = ("play", "trailer", "list_add", "thumb_up", "thumb_down", "liked", "rated", "disliked")


def install(name: str, folder: Path) -> Path:
    """Return the interpreter of a library's environment, made on the first call."""
    return install_into(folder, PACKAGES[name])


def install_into(folder: Path, steps: list[list[str]]) -> Path:
    """Return the interpreter of an environment with these packages, made on the first call."""
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        for packages in steps:
            command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*command, *packages], check=True)
        (folder / ".ready").touch()
    return python


def interactions(raw: Path) -> "pd.DataFrame":
    """Return user, item and instant of every event of ``raw``, repeats dropped."""
    import pandas as pd

    columns = ["event_id", "user_id", "item_id", "action", "occurred_at"]
    events = pd.concat(
        pd.read_parquet(file, columns=columns) for file in sorted(raw.glob("*/events-*.parquet"))
    )
    events = events.dropna(subset=columns[1:])
    events = events[events["event_id"].isna() | ~events["event_id"].duplicated()]
    return events[events["action"].isin(ACTIONS)][["user_id", "item_id", "occurred_at"]]


def rectools(raw: Path) -> int:
    """Dataset.construct, then what its SASRec model trains on."""
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models.nn.transformers.sasrec import SASRecDataPreparator

    events = interactions(raw)
    events.columns = [Columns.User, Columns.Item, Columns.Datetime]
    events[Columns.Weight] = 1.0
    dataset = Dataset.construct(events)
    preparator = SASRecDataPreparator(session_max_len=200, batch_size=128, dataloader_num_workers=0)
    preparator.process_dataset_train(dataset)
    return len(preparator.get_dataloader_train().dataset)


def recbole(raw: Path) -> int:
    """The dataset build and the sequential split of its SASRec model."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation

    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "log"
        into.mkdir()
        events = interactions(raw)
        events["occurred_at"] = events["occurred_at"].astype("int64") // 1_000_000
        events.columns = ["user_id:token", "item_id:token", "timestamp:float"]
        events.to_csv(into / "log.inter", sep="\t", index=False)
        del events
        config = Config(
            model="SASRec",
            dataset="log",
            config_dict={
                "data_path": folder,
                "MAX_ITEM_LIST_LENGTH": 200,
                "train_neg_sample_args": None,
                "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
                "use_gpu": False,
                "show_progress": False,
            },
        )
        train, _, _ = data_preparation(config, create_dataset(config))
        return len(train.dataset)


def scan_duckdb(raw: Path) -> int:
    """The limit: the same columns read and nothing done with them, by DuckDB."""
    import duckdb

    files = [str(file) for file in sorted(raw.glob("*/events-*.parquet"))]
    return len(duckdb.sql(f"select count(columns(*)) from read_parquet({files})").fetchall())


def main() -> None:
    """Run one library, or make its environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--install", action="store_true")
    parser.add_argument("name", choices=PACKAGES)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.install:
        install(arguments.name, arguments.folder)
        return
    sys.argv = sys.argv[:1]  # recbole reads the command line on its own
    sys.stdout.write(f"{globals()[arguments.name](arguments.folder)}\n")


if __name__ == "__main__":
    main()
