from pathlib import Path

import pytest

from lake.objects import DiskObjects, MemoryObjects, Objects
from lake.s3 import S3Objects


@pytest.fixture(params=["disk", "memory", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """Every kind of object store: each passes the same suite."""
    match request.param:
        case "disk":
            return DiskObjects(tmp_path)
        case "memory":
            return MemoryObjects()
    return S3Objects(request.getfixturevalue("s3_url"))
