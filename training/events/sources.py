"""Sources by name: what a workspace stores is a name and parameters."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from training.errors import SourceError
from training.events.kuairand import KuaiRand
from training.events.mapping_file import mapping_from
from training.events.own_log import OwnLog
from training.events.simulated import SimulatedWorld
from training.events.source import EventSource
from training.events.world import WorldParameters


def open_source(
    name: str, parameters: Mapping[str, Any], *, cache: Path | None = None
) -> EventSource:
    """Return the source of a name; what it knows of its files it may keep below ``cache``.

    ``simulated`` takes the fields of ``WorldParameters`` (dates as ISO strings or dates, all with
    defaults), ``kuairand`` takes ``folder``, ``parquet`` takes ``mapping``, the document of a
    ``LogMapping``. Raises SourceError for names and parameters that do
    not exist and for files or columns that are missing, ConfigError for values out of range.
    """
    openers: dict[str, Callable[[Mapping[str, Any]], EventSource]] = {
        "simulated": _open_simulated,
        "kuairand": _open_kuairand,
        "parquet": partial(_open_parquet, cache=cache),
    }
    if name not in openers:
        raise SourceError(f"no source named {name!r}; there are: {', '.join(sorted(openers))}")
    return openers[name](parameters)


def _open_simulated(parameters: Mapping[str, Any]) -> EventSource:
    _check_names("simulated", parameters, [field.name for field in fields(WorldParameters)])
    values = dict(parameters)
    if isinstance(values.get("first_day"), str):
        try:
            values["first_day"] = date.fromisoformat(values["first_day"])
        except ValueError as error:
            raise SourceError(
                f"simulated: want first_day as YYYY-MM-DD, got {values['first_day']!r}"
            ) from error
    return SimulatedWorld(WorldParameters(**values))


def _open_kuairand(parameters: Mapping[str, Any]) -> EventSource:
    _check_names("kuairand", parameters, ["folder"])
    if not parameters.get("folder"):
        raise SourceError("kuairand: want the parameter 'folder', the folder of its files")
    return KuaiRand(Path(parameters["folder"]))


def _open_parquet(parameters: Mapping[str, Any], *, cache: Path | None) -> EventSource:
    _check_names("parquet", parameters, ["mapping"])
    if not isinstance(parameters.get("mapping"), Mapping):
        raise SourceError("parquet: want the parameter 'mapping', how the files are read")
    return OwnLog(mapping_from(parameters["mapping"]), cache=cache)


def _check_names(source: str, parameters: Mapping[str, Any], known: list[str]) -> None:
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise SourceError(
            f"{source}: no parameter named {unknown[0]!r}; there are: {', '.join(known)}"
        )
