"""Wall time and peak memory of the whole lifecycle, first run and second run.

    make bench                                          # the simulated world
    python -m benchmarks.lifecycle --source kuairand --data <folder>

Each run is a fresh process in a fresh MARQUEE_HOME. Peak memory is the largest resident set of any
single process of the run (``ru_maxrss`` of the children): trainer and orchestrator do not add up.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(home: Path, source: str, data: str | None) -> dict[str, float]:
    """Run the demo once and return its figures."""
    command = [sys.executable, "-m", "marquee", "demo", "--source", source, "--workspace", source]
    if data:
        command += ["--data", data]
    started = time.monotonic()
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "MARQUEE_HOME": str(home)})
    wall_s = time.monotonic() - started
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"wall_s": round(wall_s, 1), "peak_rss_mib": round(peak_kib / 1024)}


def main() -> None:
    """Run twice and print one line of JSON per run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", default="simulated")
    parser.add_argument("--data")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        for name in ("first", "second"):
            figures = run(Path(home), arguments.source, arguments.data)
            print(json.dumps({"run": name, "source": arguments.source, **figures}))


if __name__ == "__main__":
    main()
