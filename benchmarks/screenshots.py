"""The pictures of docs/ui.md, taken from the running servers of `marquee ui`.

    python -m benchmarks.screenshots docs/images

Needs Chromium on the PATH, which the project itself does not.
"""

import argparse
import io
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from assets.tracking import DEFAULT_BASE_URL

DAGSTER = "http://127.0.0.1:3000"
FEAST = "http://127.0.0.1:8888"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH = 1200
SETTLED_MS = 25_000
"""Of the page's own time: the pages load in several steps."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One page, as tall as what it shows needs."""

    name: str
    url: str
    height: int = 1000
    width: int = 1800


SHOTS = (
    Shot("evaluation", f"{DAGSTER}/assets/model_evaluation", 1050),
    Shot("publication", f"{DAGSTER}/assets/published_version", 1050),
    Shot(
        "checks",
        f"{DAGSTER}/assets/valid_events?view=checks&checkDetail=quarantine_ratio_is_low",
        820,
    ),
    Shot(
        "mlflow",
        f"{DEFAULT_BASE_URL}/#/experiments/1?workflowType=machine_learning&compareRunsMode=CHART",
        700,
    ),
    Shot("feast", f"{FEAST}/p/marquee/feature-service", 640),
)


def main() -> None:
    """Write each shot as a small PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="only these")
    asked = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"want one of {', '.join(BROWSERS)} on the PATH")
    asked.folder.mkdir(parents=True, exist_ok=True)
    for shot in SHOTS:
        if not asked.names or shot.name in asked.names:
            (asked.folder / f"{shot.name}.png").write_bytes(small(taken(browser, shot)))


def taken(browser: str, shot: Shot) -> bytes:
    """Return the page as the browser shows it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "shot.png")
        subprocess.run(
            [
                browser,
                *("--headless=new", "--no-sandbox", "--hide-scrollbars", "--disable-gpu"),
                f"--user-data-dir={folder}/profile",
                f"--window-size={shot.width},{shot.height}",
                f"--virtual-time-budget={SETTLED_MS}",
                f"--screenshot={path}",
                shot.url,
            ],
            check=True,
            capture_output=True,
            timeout=180,
        )
        return path.read_bytes()


def small(png: bytes) -> bytes:
    """Return the picture at the width of a page, in few colours."""
    with Image.open(io.BytesIO(png)) as picture:
        height = round(picture.height * WIDTH / picture.width)
        scaled = picture.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)
        written = io.BytesIO()
        scaled.quantize(96).save(written, format="png", optimize=True)
    return written.getvalue()


if __name__ == "__main__":
    main()
