from datetime import date
from pathlib import Path
from typing import Any

import pytest

from training.errors import ConfigError, SourceError
from training.events.sources import open_source


def test_the_simulated_world_opens_with_parameters() -> None:
    source = open_source("simulated", {"num_users": 10, "first_day": "2026-03-01", "num_days": 3})

    assert source.name == "simulated"
    assert (source.first_day, source.last_day) == (date(2026, 3, 1), date(2026, 3, 3))


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("netlog", {}, "no source named 'netlog'; there are: kuairand, parquet, simulated"),
        ("simulated", {"users": 3}, "simulated: no parameter named 'users'; there are: num_users"),
        ("simulated", {"first_day": "soon"}, "want first_day as YYYY-MM-DD, got 'soon'"),
        ("kuairand", {}, "kuairand: want the parameter 'folder'"),
        ("kuairand", {"path": "x"}, "kuairand: no parameter named 'path'; there are: folder"),
        ("kuairand", {"folder": "/nowhere/at/all"}, "kuairand: no folder /nowhere/at/all"),
    ],
)
def test_what_does_not_exist_is_named(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(name, parameters)


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="num_days >= 1, got 0"):
        open_source("simulated", {"num_days": 0})


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"has no file val\.parquet"):
        open_source("kuairand", {"folder": str(tmp_path)})
