"""Pages and pictures of a workspace that a browser opens: where they lie, and their addresses.

::

    <workspace>/pages/pictures/<asset>/<partition>-<digest>.png
    <workspace>/pages/data_docs/<day>/<suite>.html
    <workspace>/pages/reports/<asset>/<partition>-<digest>.html

``marquee ui`` serves that folder, and nothing else of the workspace, on a loopback address.
"""

from pathlib import Path
from urllib.parse import quote

PAGES_URL = "http://127.0.0.1:3080"


def pages_folder(root: Path) -> Path:
    """Return the folder of a workspace's pages."""
    return root / "pages"


def docs_folder(root: Path, day: str) -> Path:
    """Return the folder of the data docs of a day's valid events."""
    return pages_folder(root) / "data_docs" / day


def report_path(root: Path, asset: str, partition: str, digest: str) -> Path:
    """Return the page about an artifact."""
    return pages_folder(root) / "reports" / asset / f"{partition}-{digest[:16]}.html"


def pages_of_artifacts(root: Path, asset: str = "*", partition: str = "*") -> list[Path]:
    """Return the pictures of and the pages about artifacts, each named by partition and digest."""
    return sorted(
        path
        for kind in ("pictures", "reports")
        for path in (pages_folder(root) / kind).glob(f"{asset}/{partition}-*")
    )


def page_url(root: Path, page: Path) -> str:
    """Return the address of a page below ``pages_folder(root)``; it answers while it is served."""
    return f"{PAGES_URL}/{quote(page.relative_to(pages_folder(root)).as_posix())}"
