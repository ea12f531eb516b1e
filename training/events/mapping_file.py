"""Reads a mapping from TOML: every key known, every decision made, nothing contradicted."""

import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from training.errors import ConfigError
from training.events.mapping import (
    FORMAT_VERSION,
    TAKEN_NAMES,
    ActionRows,
    CatalogueColumns,
    Condition,
    DurationUnit,
    EventColumns,
    FacetColumn,
    FileFormat,
    FileSet,
    InstantColumn,
    LogMapping,
    TimeUnit,
    World,
)
from training.events.tables import Table, open_decisions
from training.schema import Action, ActionRole, EventSchema, Facet, FacetKind, Phase


def read_mapping(path: Path) -> LogMapping:
    """Return the mapping in a file; raises ConfigError, naming the entry at fault."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such mapping; `marquee source init` drafts one") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: want TOML, got: {error}") from error
    try:
        return mapping_from(document, folder=path.resolve().parent)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def mapping_from(document: Mapping[str, Any], *, folder: Path | None = None) -> LogMapping:
    """Return the mapping of a document; relative files lie below ``folder``."""
    if undecided := open_decisions(document):
        raise ConfigError(
            f"{len(undecided)} decisions are open: {', '.join(undecided)}; "
            "the comments in the draft say what each one means"
        )
    plain = _plain(document, folder)
    root = Table(plain, "the mapping")
    if (version := root.whole("format_version")) != FORMAT_VERSION:
        raise ConfigError(f"format_version: want {FORMAT_VERSION}, got {version}")
    name = root.text("name")
    events = _events(root.table("events"))
    actions = tuple(_action(one, events.action) for one in root.tables("actions"))
    facets = tuple(_facet(one) for one in root.tables("facets"))
    exposure = root.text_or_none("exposure")
    catalogue, world = _catalogue(root.table("catalogue")), _world(root.table("world", default={}))
    root.close()
    _check_actions(actions, events.action)
    _check_facets(facets, events)
    return LogMapping(
        name=name,
        events=events,
        actions=actions,
        facets=facets,
        catalogue=catalogue,
        world=world,
        schema=EventSchema(
            name=name,
            actions=tuple(one.action for one in actions),
            facets=tuple(one.facet for one in facets),
            exposure=exposure,
        ),
        document=plain,
    )


def _plain(document: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    """Return the document as JSON, its files as absolute paths."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(one) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(one) for one in value]
        return value.isoformat() if isinstance(value, date) else value

    result: dict[str, Any] = plain(document)
    for part in ("events", "catalogue"):
        section = result.get(part)
        if isinstance(section, dict) and "files" in section:
            files = section["files"]
            names = files if isinstance(files, list) else [files]
            section["files"] = [
                str((folder or Path()) / one) if isinstance(one, str) else one for one in names
            ]
    return result


def _events(table: Table) -> EventColumns:
    result = EventColumns(
        files=_files(table),
        user_id=table.text("user_id"),
        item_id=table.text("item_id"),
        occurred_at=_instant(table.table("occurred_at")),
        received_at=_instant_or_none(table, "received_at"),
        event_id=table.text_or_none("event_id"),
        action=table.text_or_none("action"),
    )
    table.close()
    return result


def _files(table: Table) -> FileSet:
    paths = tuple(Path(one) for one in table.texts("files"))
    kind = table.choice("format", FileFormat)
    csv = table.table("csv", default={})
    result = FileSet(
        paths=paths,
        format=kind,
        delimiter=csv.text("delimiter", default=","),
        quote=csv.text_or_none("quote", default='"') or None,
        encoding=csv.text("encoding", default="utf8"),
        nulls=csv.texts("nulls", default=("",)),
        columns=csv.texts("columns", default=()),
    )
    csv.close()
    if not paths:
        raise ConfigError(f"{table.where}.files: want at least one file or folder, got none")
    if len(result.delimiter) > 1 and not result.columns:
        raise ConfigError(
            f"{csv.where}.columns: want the names of the columns, because the delimiter "
            f"{result.delimiter!r} has more than one character"
        )
    return result


def _instant(table: Table) -> InstantColumn:
    zone = table.text_or_none("zone")
    result = InstantColumn(
        column=table.text("column"), unit=table.choice("unit", TimeUnit), zone=zone
    )
    table.close()
    if zone:
        _check_zone(zone, table.where)
    return result


def _instant_or_none(table: Table, key: str) -> InstantColumn | None:
    return _instant(table.table(key)) if key in table else None


def _check_zone(zone: str, where: str) -> None:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(
            f"{where}.zone: want a time zone such as UTC or Europe/Vienna, got {zone!r}"
        ) from error


def _action(table: Table, column: str | None) -> ActionRows:
    name = table.text("name")
    action = Action(name=name, role=table.choice("role", ActionRole))
    values = table.texts("values", default=(name,)) if column else ()
    where = tuple(_condition(one) for one in table.tables("where"))
    if column and where:
        raise ConfigError(
            f"{table.where}: events.action names a column, so want 'values' of it, got 'where'"
        )
    table.close()
    return ActionRows(action=action, values=values, where=where)


def _condition(table: Table) -> Condition:
    column = table.text("column")
    tests = [one for one in ("equals", "one_of", "at_least", "below") if one in table]
    if len(tests) != 1:
        raise ConfigError(f"{table.where}: want one of equals, one_of, at_least, below")
    value = table.value(tests[0])
    if tests[0] == "one_of" and not (isinstance(value, list) and value):
        raise ConfigError(f"{table.where}.one_of: want a list of values, got {value!r}")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if tests[0] in {"at_least", "below"} and not is_number:
        raise ConfigError(f"{table.where}.{tests[0]}: want a number, got {value!r}")
    table.close()
    return Condition(column=column, test=tests[0], value=value)


def _check_actions(actions: tuple[ActionRows, ...], column: str | None) -> None:
    taken: dict[str, str] = {}
    for one in actions if column else ():
        for value in one.values:
            if value in taken:
                raise ConfigError(
                    f"actions: {taken[value]!r} and {one.action.name!r} both take {value!r}"
                )
            taken[value] = one.action.name


def _check_facets(facets: tuple[FacetColumn, ...], events: EventColumns) -> None:
    """Refuse ids as facets: as a request facet, the item's id is the very thing to predict."""
    for index, one in enumerate(facets):
        for key in ("user_id", "item_id"):
            if one.column == getattr(events, key):
                raise ConfigError(
                    f"facets[{index}]: the column {one.column!r} is the events' {key}, which is no "
                    "facet: remove this entry"
                )


def _facet(table: Table) -> FacetColumn:
    kind = table.choice("kind", FacetKind)
    name = table.text("name")
    if name in TAKEN_NAMES:
        raise ConfigError(f"{table.where}.name: {name!r} is taken: choose another, with `column`")
    unit: str | None = None
    if kind is FacetKind.DURATION:
        unit = table.choice("unit", DurationUnit)
    elif kind is FacetKind.INSTANT:
        unit = table.choice("unit", TimeUnit)
    zone = table.text_or_none("zone") if kind is FacetKind.INSTANT else None
    is_set = kind is FacetKind.MULTI_CATEGORICAL
    result = FacetColumn(
        facet=Facet(name=name, kind=kind, phase=table.choice("phase", Phase)),
        column=table.text("column", default=name),
        unit=unit,
        zone=zone,
        separator=table.text_or_none("separator") if is_set else None,
    )
    table.close()
    if zone:
        _check_zone(zone, table.where)
    return result


_ITEM_TEXTS = ("title", "original_language", "release_country", "maturity", "synopsis")


def _catalogue(table: Table) -> CatalogueColumns:
    files = _files(table) if "files" in table else None
    is_kind_a_column = files is not None and table.is_table("kind")
    kind = table.table("kind") if is_kind_a_column else None
    runtime = table.table("runtime") if files and "runtime" in table else None
    result = CatalogueColumns(
        files=files,
        item_id=table.text("item_id") if files else "",
        kind=None if kind else table.text("kind"),
        kind_column=kind.text("column") if kind else None,
        texts={name: table.text(name) for name in _ITEM_TEXTS if files and name in table},
        genres=table.text_or_none("genres") if files else None,
        separator=table.text_or_none("separator") if files else None,
        release_date=table.text_or_none("release_date") if files else None,
        runtime=(runtime.text("column"), runtime.choice("unit", DurationUnit)) if runtime else None,
        valid_from=_instant_or_none(table, "valid_from") if files else None,
        valid_to=_instant_or_none(table, "valid_to") if files else None,
    )
    for one in (kind, runtime, table):
        if one:
            one.close()
    return result


def _world(table: Table) -> World:
    result = World(
        first_day=table.day_or_none("first_day"),
        last_day=table.day_or_none("last_day"),
        recipe=table.text("recipe", default="own_log"),
        fine_tuned_days=table.whole("fine_tuned_days", default=3),
        evaluation_days=table.whole("evaluation_days", default=0),
        empty_days=table.truth("empty_days", default=False),
        quality_margin=table.share_or_none("quality_margin"),
    )
    table.close()
    if ":" in result.recipe:  # package.module:function would be imported, and so executed
        raise ConfigError(f"world.recipe: want the name of a recipe, got {result.recipe!r}")
    if result.fine_tuned_days < 1:
        raise ConfigError(f"world.fine_tuned_days: want at least 1, got {result.fine_tuned_days}")
    if result.evaluation_days < 0:
        raise ConfigError(f"world.evaluation_days: want 0 or more, got {result.evaluation_days}")
    if result.first_day and result.last_day and result.first_day > result.last_day:
        raise ConfigError(f"world: {result.first_day} is after {result.last_day}")
    return result
