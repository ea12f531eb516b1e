"""Who relies on what: the workspace's ``consumers/<team>.<service>.yaml``, one file per service."""

from pathlib import Path

import yaml

from assets.workspace import Workspace
from embedding_store.consumers import ConsumerNeeds
from embedding_store.errors import ContractError
from embedding_store.publisher import Publisher
from lake.atomic import replace_file

FOLDER = "consumers"


def registered_consumers(workspace: Workspace) -> tuple[ConsumerNeeds, ...]:
    """Return what every registered service needs, by file; raises ContractError, with the file."""
    found: dict[str, Path] = {}
    consumers = []
    for path in sorted((workspace.root / FOLDER).glob("*")):
        if path.name.startswith("."):
            continue  # an editor's, or one that is being written
        needs = read_consumer(path)
        if needs.name in found:
            raise ContractError(f"{path}: {needs.name} stands in {found[needs.name].name} already")
        found[needs.name] = path
        consumers.append(needs)
    return tuple(consumers)


def read_consumer(path: Path) -> ConsumerNeeds:
    """Return what a file says that a service needs; raises ContractError."""
    if path.suffix != ".yaml":
        raise ContractError(f"{path}: want a name that ends in .yaml")
    try:
        value = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ContractError(f"{path}: want YAML ({' '.join(str(error).split())})") from error
    return ConsumerNeeds.of(value, source=str(path))


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
