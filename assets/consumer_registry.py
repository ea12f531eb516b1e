"""Who relies on what: the workspace's ``consumers/<team>.<service>.yaml``, one file per service."""

from pathlib import Path

import yaml

from assets.workspace import Workspace
from embedding_store.consumers import ConsumerNeeds
from embedding_store.errors import ContractError
from embedding_store.publisher import Publisher
from lake.atomic import replace_file

FOLDER = "consumers"

_TAGS = {f"tag:yaml.org,2002:{one}" for one in ("bool", "float", "int", "null")}
"""What is no text; a date such as 2026-99-99 is one here."""


def registered_consumers(workspace: Workspace) -> tuple[ConsumerNeeds, ...]:
    """Return what every registered service needs, by file; raises ContractError, with the file."""
    return tuple(_by_file(workspace).values())


def consumer_files(workspace: Workspace) -> tuple[Path, ...]:
    """Return the file of every registered service; raises ContractError, with the file."""
    return tuple(_by_file(workspace))


def drop_consumer(workspace: Workspace, name: str) -> Path | None:
    """Remove the file of a service from the registry and return where it was, if it had one."""
    path = next((path for path, one in _by_file(workspace).items() if one.name == name), None)
    if path is not None:
        path.unlink()
    return path


def _by_file(workspace: Workspace) -> dict[Path, ConsumerNeeds]:
    found: dict[str, Path] = {}
    consumers: dict[Path, ConsumerNeeds] = {}
    for path in sorted((workspace.root / FOLDER).glob("*")):
        if path.name.startswith("."):
            continue  # an editor's, or one that is being written
        needs = read_consumer(path)
        if needs.name in found:
            raise ContractError(f"{path}: {needs.name} stands in {found[needs.name].name} already")
        found[needs.name] = path
        consumers[path] = needs
    return consumers


def read_consumer(path: Path) -> ConsumerNeeds:
    """Return what a file says that a service needs; raises ContractError."""
    if path.suffix != ".yaml":
        raise ContractError(f"{path}: want a name that ends in .yaml")
    if not path.is_file():
        raise ContractError(
            f"{path}: want a file, there is none (or a folder, or a link to nothing)"
        )
    value = _fields(path)
    return ConsumerNeeds.of(value, source=str(path))


def _fields(path: Path) -> object:
    """Return keys and values as the file has them; raises ContractError."""
    try:
        node = yaml.compose(path.read_bytes(), Loader=yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            raise ContractError(f"{path}: want YAML of keys and values, such as `team: home`")
        keys = [key.value for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise ContractError(f"{path}: {twice} stands there twice")
        return {_plain(key): _plain(value) for key, value in node.value}
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ContractError(f"{path}: want YAML ({' '.join(str(error).split())})") from error


def _plain(node: yaml.Node) -> object:
    """Return a text or number; raises YAMLError for anything else, also a key of a key."""
    if not isinstance(node, yaml.ScalarNode):
        raise yaml.YAMLError(f"want a text or a number, got more\n{node.start_mark}")
    if node.tag not in _TAGS:
        return node.value
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (ValueError, LookupError) as error:  # PyYAML's own, of `!!int x`
        raise yaml.YAMLError(
            f"want a number, got {node.value[:40]!r}\n{node.start_mark}"
        ) from error


def write_consumer(workspace: Workspace, path: Path) -> Path:
    """Keep a file in the registry and return where; one of the same service is replaced."""
    needs = read_consumer(path)
    target = workspace.root / FOLDER / f"{needs.team}.{needs.service}.yaml"
    for other in registered_consumers(workspace):
        if other.name == needs.name and not target.exists():
            raise ContractError(f"{path}: {needs.name} is registered in a file of another name")
    replace_file(target, path.read_bytes())
    return target


def publisher_of(workspace: Workspace, *, by: str) -> Publisher:
    """Return a publisher that keeps what was promised to the workspace's consumers."""
    return Publisher(workspace.store, by=by, consumers=registered_consumers(workspace))
