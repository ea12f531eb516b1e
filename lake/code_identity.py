"""The identity of a step's code: what must change when the step would compute something else.

It covers the syntax trees (so comments and docstrings may change) of every module of ours that the
step's module reaches by imports, and the installed versions of the libraries that those import.
"""

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from sys import stdlib_module_names

from lake.digests import digest_json

OURS = frozenset({"lake", "training", "embedding_store", "feature_repo", "assets", "marquee"})


@cache
def code_identity(*modules: str) -> str:
    """Return the digest of all that ``modules`` (dotted names of ours) compute with."""
    trees: dict[str, str] = {}
    libraries: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in trees:
            continue
        trees[name], imports = _module(name)
        for imported in imports:
            top = imported.partition(".")[0]
            if top in OURS:
                waiting.append(imported)
            elif top not in stdlib_module_names:
                libraries.add(top)
    return digest_json({"modules": trees, "libraries": _versions(libraries)})


@cache
def _module(name: str) -> tuple[str, tuple[str, ...]]:
    """Return a module's code and what it imports: most assets share most of their modules."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ImportError(f"code identity: no source for module {name!r}")
    tree = ast.parse(Path(spec.origin).read_bytes())
    return _canonical(tree), tuple(_imports(tree))


class _WithoutText(ast.NodeTransformer):
    """Drops strings that stand alone: docstrings, also those below fields."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Keep every expression but a bare string."""
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node


def _canonical(tree: ast.Module) -> str:
    return ast.dump(_WithoutText().visit(tree))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            # ``from package import module`` names a module, ``from module import name`` does not
            for alias in node.names:
                if node.module.partition(".")[0] in OURS and _is_module(node.module, alias.name):
                    yield f"{node.module}.{alias.name}"


def _is_module(package: str, name: str) -> bool:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return False
    folder = Path(spec.submodule_search_locations[0])
    return (folder / f"{name}.py").exists() or (folder / name / "__init__.py").exists()


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def _versions(libraries: set[str]) -> dict[str, str]:
    found = {name: sorted(set(_distributions().get(name, []))) for name in libraries}
    return {dist: version(dist) for dists in found.values() for dist in dists}
