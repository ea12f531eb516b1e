import io
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console

from assets.workspace import Workspace, WorkspaceConfig
from lake.lake import Step, Written
from marquee.doctor import examine


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    config = WorkspaceConfig(
        source="simulated",
        source_parameters={},
        first_day=date(2026, 1, 30),
        last_day=date(2026, 2, 3),
        recipe="tiny",
    )
    return Workspace.create(tmp_path / "world", config)


# the orchestrator tells of features in beta when the code location is loaded
@pytest.mark.filterwarnings("ignore::dagster_shared.utils.warnings.BetaWarning")
@pytest.mark.parametrize(
    ("asset", "partition", "command"),
    [
        ("valid_events", "2026-02-01", "marquee run 2026-02-01 --job ingestion"),
        ("item_embeddings", "2026-02-01", "marquee run 2026-02-01 --job daily_refresh"),
        ("pretrained_model", "2026-01-01", "marquee run 2026-01-01 --job monthly_pretraining"),
        ("history_prefix", "history", "marquee run 2026-01-01 --job monthly_pretraining"),
    ],
)
def test_a_flipped_byte_is_told_with_the_command_that_mends_it(
    workspace: Workspace, asset: str, partition: str, command: str
) -> None:
    def write(folder: Path) -> Written:
        (folder / "data.bin").write_bytes(b"\x00")
        return Written(rows=1)

    step = Step(asset=asset, partition=partition, schema_id="s/1", as_of="", code="c")
    ref = workspace.lake.build(step, write).ref
    (workspace.lake.path(ref) / "data.bin").write_bytes(b"\x01")
    shown = io.StringIO()

    assert not examine(workspace.root, Console(file=shown, width=5000))

    said = shown.getvalue()
    assert str(workspace.lake.path(ref)) in said
    assert f"`{command} --workspace world`" in said
