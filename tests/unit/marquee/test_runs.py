import subprocess
import sys
from datetime import date
from pathlib import Path

from assets.workspace import Workspace, WorkspaceConfig

OPEN = """
import sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import dagster
from assets.workspace import Workspace
from marquee.runs import Orchestrator
orchestrator = Orchestrator(Workspace.open(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
orchestrator._instance
"""


def test_processes_that_open_a_fresh_home_at_once_leave_it_whole(tmp_path: Path) -> None:
    config = WorkspaceConfig(
        source="simulated",
        source_parameters={},
        first_day=date(2026, 1, 30),
        last_day=date(2026, 2, 3),
        recipe="tiny",
    )
    root = Workspace.create(tmp_path / "world", config).root
    command = [sys.executable, "-c", OPEN, str(root)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]  # type: ignore[call-overload]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    again = subprocess.run(command, input="go\n", text=True, check=False, capture_output=True)
    assert again.returncode == 0, again.stderr
