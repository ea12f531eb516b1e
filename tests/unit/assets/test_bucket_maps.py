import importlib.util

import pytest

from assets.bucket_maps import bucket_map
from assets.errors import WorkspaceError


def test_threads_are_the_default() -> None:
    for environment in ({}, {"MARQUEE_ENGINE": ""}, {"MARQUEE_ENGINE": "threads"}):
        assert bucket_map(environment)(lambda bucket: -bucket, 3) == [0, -1, -2]


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(WorkspaceError, match="want 'threads' or 'ray', got 'spark'"):
        bucket_map({"MARQUEE_ENGINE": "spark"})


def test_an_engine_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(WorkspaceError, match=r"pip install 'marquee\[ray\]'"):
        bucket_map({"MARQUEE_ENGINE": "ray"})
