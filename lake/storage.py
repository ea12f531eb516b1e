"""Where a lake or a store keeps what is durable: in its own folder, or in an S3 bucket.

A folder whose ``location.json`` names a bucket keeps its objects and folders there; on the disk
remain locks, unfinished work and a cache, and losing them loses nothing::

    location.json    {"format_version": 1, "url": "s3://bucket/prefix"}
    cache/           folders written or read on this machine
"""

import json
from dataclasses import dataclass
from pathlib import Path

from lake.atomic import create_file
from lake.errors import CorruptArtifactError, LakeError
from lake.folders import DiskFolders, Folders, S3Folders
from lake.objects import DiskObjects, Objects
from lake.s3 import S3Objects
from lake.sealed import json_object

LOCATION = "location.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Storage:
    """Small objects and immutable folders of one place."""

    objects: Objects
    folders: Folders
    url: str
    """Where people find it."""


def open_storage(root: Path) -> Storage:
    """Return the storage of the folder ``root``: the folder itself, or the bucket it names."""
    url = _url_of(root)
    if url is None:
        return Storage(DiskObjects(root), DiskFolders(root), str(root))
    objects = S3Objects(url)
    return Storage(objects, S3Folders(objects, root / "cache"), url)


def locate(root: Path, url: str) -> None:
    """Let the folder ``root`` keep its data at ``url`` from the start; the same twice is one.

    Raises StorageError when it is no S3 address, LakeError when the folder already is elsewhere.
    """
    wanted = str(S3Objects(url))
    if _url_of(root) is None:  # nothing is written where it stands: a cache may be read-only
        text = json.dumps({"format_version": FORMAT_VERSION, "url": wanted}, indent=1)
        create_file(root / LOCATION, f"{text}\n".encode())
    if (standing := _url_of(root)) != wanted:
        raise LakeError(f"{root} keeps its data at {standing}, asked for {url}: make another")


def _url_of(root: Path) -> str | None:
    path = root / LOCATION
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        value = json_object(text)
        version, url = value["format_version"], str(value["url"])
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptArtifactError(
            f"{path}: want the address of a bucket in JSON, got {len(text)} bytes ({error}): "
            "restore it"
        ) from error
    if version != FORMAT_VERSION:
        raise CorruptArtifactError(f"{path}: read format {FORMAT_VERSION}, got {version!r}")
    return url
