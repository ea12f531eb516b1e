import io
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from assets.workspace import Workspace
from lake.lake import Step, Written
from marquee.lookups import _titles_table, served_shelf, stored_shelf
from marquee.titles import Title
from tests.unit.embedding_store.small_world import SmallWorld
from tests.unit.marquee.conftest import Marquee

SLOW = ("feast", "torch", "dagster", "mlflow", "great_expectations", "matplotlib", "boto3")


def take_in_catalogue(workspace: Workspace, items: list[str]) -> None:
    def write(folder: Path) -> Written:
        columns = {"item_id": items, "title": items, "kind": items, "genres": [["x"]] * len(items)}
        pq.write_table(pa.table(columns), folder / "catalogue.parquet")
        return Written(len(items))

    step = Step(asset="catalogue", partition="2024-03-01", schema_id="x/1", as_of="x", code="c")
    workspace.lake.build(step, write)


def test_store_and_feature_service_fill_one_shelf(world: SmallWorld, workspace: Workspace) -> None:
    take_in_catalogue(workspace, [*world.raw.item_ids, "unknown"])
    served, stored = served_shelf(workspace), stored_shelf(workspace)
    assert stored.items.ids == served.items.ids
    assert stored.items.version == served.items.version == "v2"
    assert stored.items.is_found.sum() == len(world.raw.item_ids)
    for one, other in (
        (stored.items, served.items),
        (stored.reader.users(["user-1", "nobody"]), served.reader.users(["user-1", "nobody"])),
    ):
        assert one.is_found.tolist() == other.is_found.tolist()
        assert (one.vectors == other.vectors).all()


def test_what_needs_no_feast_loads_nothing_slow(workspace: Workspace, marquee: Marquee) -> None:
    """``marquee`` sets the environment that the process inherits."""
    take_in_catalogue(workspace, ["item-1", "item-2"])
    script = f"""
import sys
from marquee.cli import main
for command in (["status"], ["versions"], ["recommend", "user-1"], ["similar", "item-1"]):
    sys.argv = ["marquee", *command, "--workspace", {workspace.root.name!r}]
    assert main() == 0, command
print("loaded", [name for name in {SLOW!r} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded []"


def test_a_title_that_looks_like_markup_is_printed_as_it_is() -> None:
    console = Console(file=io.StringIO(), width=200)
    title = Title("[i1]", "[rec] at night", "[film]", "[b]drama[/b]")
    console.print(_titles_table("Best", [(title, 1.0)], "score"))
    row = console.file.getvalue().splitlines()[-2]
    assert row.split() == ["1", "[i1]", "[rec]", "at", "night", "[film]", "[b]drama[/b]", "1.00"]
