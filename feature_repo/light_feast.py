"""Importing Feast without most of what that costs.

Feast 0.67 rewrites its own sources on import to check the types of arguments (``typeguard``; ours
are checked by mypy), and loads torch for the one answer that is a tensor. Without both, 1.5 s of
processor are left of 6.5, in every process that has Feast. Where Feast is there already nothing is
changed. Removable when Feast does neither; ADR 16.
"""

import importlib
import sys
from collections.abc import Sequence
from functools import partial
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any


class _BeforeFeast(MetaPathFinder):
    """Finds nothing; is asked for Feast right before it is imported."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - what importlib hands over
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> None:
        if fullname == "feast":
            sys.meta_path.remove(self)
            _leave_unchecked("feast")
            sys.modules.setdefault("feast.torch_wrapper", _lazy_torch())


def install() -> None:
    """Arrange that the process imports Feast lightly, whenever it does."""
    if "feast" not in sys.modules:
        sys.meta_path.insert(0, _BeforeFeast())


def _leave_unchecked(package: str) -> None:
    import typeguard

    checked = typeguard.typechecked

    def unless_of_package(target: Any = None, **options: Any) -> Any:
        if target is None:
            return partial(unless_of_package, **options)
        is_of_package = target.__module__.partition(".")[0] == package
        return target if is_of_package else checked(target, **options)

    typeguard.typechecked = unless_of_package


def _lazy_torch() -> ModuleType:
    module = ModuleType("feast.torch_wrapper")
    module.__dict__["get_torch"] = lambda: importlib.import_module("torch")
    return module
