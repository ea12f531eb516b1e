"""From a row of somebody's own file to events: one for each action that the row is.

::

    action column    row ──► its word, as the action that takes the word
    conditions       row ──► an event per action whose conditions hold

A row that is no action stays an event: with its unknown word, or without an action, which the row
rules refuse. A row's durations go with the first of its events that tokens hold, so that no time is
counted twice.
"""

import polars as pl

from training.errors import SourceError
from training.events import columns
from training.events.file_facts import ROW
from training.events.mapping import ActionRows, LogMapping
from training.schema import ActionRole, FacetKind

_NO_ACTION = -1
_CARRIER = "__carrier__"
OWN_COLUMNS = frozenset({ROW, "__day__", _CARRIER})
"""Columns that reading adds to the files' own, the day's among them."""


def source_columns(mapping: LogMapping) -> list[str]:
    """Return the columns of the files that events are made of; raises SourceError."""
    events = mapping.events
    wanted = [events.user_id, events.item_id, events.occurred_at.column]
    wanted += [events.received_at.column] if events.received_at else []
    wanted += [one for one in (events.event_id, events.action) if one]
    wanted += [rule.column for one in mapping.actions for rule in one.where]
    wanted += [one.column for one in mapping.facets]
    for name in wanted:
        if name in OWN_COLUMNS:
            raise SourceError(
                f"column {name!r}: a column of that name is added while files are read: rename "
                "yours in the files, or leave it out"
            )
    return list(dict.fromkeys(wanted))


def row_events(rows: pl.DataFrame, mapping: LogMapping) -> pl.DataFrame:
    """Return the events of rows, ``EventSchema.arrow_schema`` and ``ROW``.

    Raises:
        SourceError: a column has a type that its use does not fit.
    """
    names = [ROW, *mapping.schema.arrow_schema.names]
    if mapping.events.action:
        values = {**_fixed(rows, mapping), **_facets(rows, mapping)}
        return rows.select(ROW, action=_named(rows, mapping), **values).select(names)
    rows = rows.with_columns(_carrier(rows, mapping.actions).alias(_CARRIER))
    parts = []
    for number, one in enumerate(mapping.actions):
        here = rows.filter(_is_action(rows, one))
        parts.append(_expanded(here, mapping, number, one.action.name).select(names))
    without = rows.filter(pl.col(_CARRIER) == _NO_ACTION)
    parts.append(_expanded(without, mapping, _NO_ACTION, None).select(names))
    return pl.concat(parts)


def _named(rows: pl.DataFrame, mapping: LogMapping) -> pl.Expr:
    assert mapping.events.action is not None
    name_of = {value: one.action.name for one in mapping.actions for value in one.values}
    word = columns.identifiers(rows.schema, mapping.events.action)
    # a word that no action takes must not pass for the action that bears it as a name
    names = [one.action.name for one in mapping.actions]
    unknown = pl.when(word.is_in(names)).then(word + "?").otherwise(word)
    return pl.when(word.is_in(list(name_of))).then(word.replace(name_of)).otherwise(unknown)


def _expanded(
    rows: pl.DataFrame, mapping: LogMapping, number: int, action: str | None
) -> pl.DataFrame:
    """Return ``rows`` as events of the action with a number."""
    fixed, facets = _fixed(rows, mapping), _facets(rows, mapping)
    name = pl.lit(action, dtype=pl.String)
    if mapping.events.event_id and len(mapping.actions) > 1:
        # one row, several events: each needs an id of its own
        fixed["event_id"] = pl.concat_str(fixed["event_id"], pl.lit(":"), name.fill_null(""))
    for one in mapping.facets:
        if one.facet.kind is FacetKind.DURATION:
            carried = pl.when(pl.col(_CARRIER) == number).then(facets[one.facet.name])
            facets[one.facet.name] = carried
    return rows.select(ROW, action=name, **fixed, **facets)


def _fixed(rows: pl.DataFrame, mapping: LogMapping) -> dict[str, pl.Expr]:
    spec, schema = mapping.events, rows.schema
    event_id = pl.lit(None, dtype=pl.String)
    received = spec.received_at or spec.occurred_at
    return {
        "event_id": columns.identifiers(schema, spec.event_id) if spec.event_id else event_id,
        "user_id": columns.identifiers(schema, spec.user_id),
        "item_id": columns.identifiers(schema, spec.item_id),
        "occurred_at": columns.instants(schema, spec.occurred_at),
        "received_at": columns.instants(schema, received),
    }


def _facets(rows: pl.DataFrame, mapping: LogMapping) -> dict[str, pl.Expr]:
    return {one.facet.name: columns.facet(rows.schema, one) for one in mapping.facets}


def _is_action(rows: pl.DataFrame, one: ActionRows) -> pl.Expr:
    met = [columns.holds(rows.schema, condition) for condition in one.where]
    return pl.all_horizontal(met) if met else pl.lit(value=True)


def _carrier(rows: pl.DataFrame, actions: tuple[ActionRows, ...]) -> pl.Expr:
    """Return the number of the action whose event has the durations of a row."""
    numbered = sorted(
        enumerate(actions), key=lambda one: (one[1].action.role is ActionRole.IGNORED, one[0])
    )
    found = [pl.when(_is_action(rows, one)).then(pl.lit(number)) for number, one in numbered]
    return pl.coalesce([*found, pl.lit(_NO_ACTION)])
