"""Drafts a mapping from what files look like.

Names and values suggest much; what they cannot tell is written as DECIDE, which no reader accepts,
with a comment that says what hangs on it. Roles of actions and phases of facets are never guessed:
a wrong one is an error that no later step can see.
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from training.events.mapping import TAKEN_NAMES, FileFormat
from training.events.profile import Column, Profile, profile
from training.events.tables import DECIDE

_USER = ("user", "userid", "uid", "member", "customer", "account", "visitor", "profile", "listener")
_ITEM = (
    "item", "itemid", "track", "song", "video", "movie", "film", "titleid", "product", "article",
    "content", "asset", "show", "episode", "book", "sku", "game",
)  # fmt: skip
_EVENT = ("event", "eventid", "uuid", "id")
_ACTION = ("action", "event", "eventtype", "type", "verb", "interaction", "eventname")
_KIND = ("kind", "type", "category")
_GENRES = ("genre", "genres", "tags", "categories")
_TEXTS = {
    "title": ("title", "name"),
    "original_language": ("originallanguage", "language", "lang"),
    "release_country": ("releasecountry", "country"),
    "maturity": ("maturity", "certificate", "agerating"),
    "synopsis": ("synopsis", "description", "overview", "summary"),
}
_RELEASE = ("releasedate", "released", "release", "year", "published")
_RUNTIME = ("runtime", "duration", "length", "runtimes", "durations", "lengths", "lengthms",
            "durationms", "runtimemin")  # fmt: skip
_VALID_FROM = ("validfrom", "since", "availablefrom", "addedat", "added")
_ARRIVAL = ("receiv", "ingest", "arriv", "loaded", "server")
_LENGTH = ("duration", "played", "watch", "listen", "dwell", "elapsed", "_ms", "_s", "_sec")
_MAX_ACTIONS = 30
_MAX_CATEGORIES = 512


def draft(events: list[Path], catalogue: list[Path], *, name: str) -> str:
    """Return the text of a mapping for files; raises SourceError where they cannot be read."""
    log = profile(events)
    items = profile(catalogue) if catalogue else None
    return "\n".join([*_events(log, name), *_catalogue(items), *_world()]) + "\n"


def _events(log: Profile, name: str) -> Iterable[str]:
    used: set[str] = set()

    def take(column: Column | None) -> str:
        if column:
            used.add(column.name)
        return _text(column.name if column else DECIDE)

    user = _one(log.columns, _USER)
    item = _one([c for c in log.columns if c is not user], _ITEM)
    ids = _one([c for c in log.columns if c not in (user, item)], _EVENT)
    is_id = ids is not None and ids.distinct == log.rows and not ids.missing
    times = [c for c in log.columns if c.time and c not in (user, item, ids if is_id else None)]
    arrivals = [c for c in times if any(word in c.name.lower() for word in _ARRIVAL)]
    occurred = [c for c in times if c not in arrivals]
    yield f"# Drafted from {log.num_files} file(s), of which the first {log.rows:,} rows were read."
    yield "# `marquee source check` refuses it while a DECIDE is left, then says what is taken."
    yield "format_version = 1"
    yield f"name = {_text(name)}"
    yield ""
    yield "[events]"
    yield from _layout(log)
    yield f"user_id = {take(user)}{_why(user, log, 'who acted')}"
    yield f"item_id = {take(item)}{_why(item, log, 'on what')}"
    yield from _time("occurred_at", occurred, used)
    if arrivals:
        yield from _time("received_at", arrivals[:1], used)
    if is_id and ids:
        yield f"event_id = {take(ids)}  # no value repeats"
    else:
        yield "# no event_id: equal rows are one event"
    rest = [c for c in log.columns if c.name not in used]
    yield from _actions(rest, used)
    yield from _facets([c for c in rest if c.name not in used])


def _layout(found: Profile) -> Iterable[str]:
    layout = found.layout
    yield f"files = {_text([str(path) for path in layout.paths])}"
    yield f"format = {_text(layout.format.value)}"
    if layout.format is FileFormat.PARQUET:
        return
    parts = [f"delimiter = {_text(layout.delimiter)}", f"nulls = {_text(list(layout.nulls))}"]
    if layout.encoding != "utf8":
        parts.append(f"encoding = {_text(layout.encoding)}")
    if found.is_headless:
        yield "# there is no header: name the columns as you like, here and below"
        for column in found.columns:
            yield f"#   {column.name}: {_shown(column)}"
        parts.append(f"columns = {_text([c.name for c in found.columns])}")
    yield f"csv = {{{', '.join(parts)}}}"


def _time(key: str, candidates: Sequence[Column], used: set[str]) -> Iterable[str]:
    if len(candidates) != 1:
        yield f"# DECIDE: when it happened; {_listed(candidates) or 'no column reads as times'}"
        yield f"{key} = {{column = {_text(DECIDE)}, unit = {_text(DECIDE)}}}"
        return
    column = candidates[0]
    assert column.time is not None
    used.add(column.name)
    unit = column.time.unit
    if column.needs_zone:
        yield '# DECIDE: zone of the clock that wrote these times, such as "UTC", "Europe/Vienna"'
    zone = f", zone = {_text(DECIDE)}" if column.needs_zone else ""
    yield (
        f"{key} = {{column = {_text(column.name)}, unit = {_text(unit.value)}{zone}}}"
        f"  # such as {_comment(column.values[0])}"
    )


def _actions(rest: Sequence[Column], used: set[str]) -> Iterable[str]:
    words = [c for c in rest if not c.is_number and not c.is_flag and c.distinct <= _MAX_ACTIONS]
    named = _one(words, _ACTION)
    flags = [c for c in rest if c.is_flag]
    roles = "# DECIDE each role: target (a choice to predict), context, negative, ignored"
    if named:
        used.add(named.name)
        yield f"action = {_text(named.name)}  # {named.distinct} words"
        yield ""
        yield roles
        for value in sorted(named.values):
            yield from ("[[actions]]", f"name = {_text(value)}", f"role = {_text(DECIDE)}", "")
        return
    yield ""
    if not flags:
        yield "# Every row is one action. For others by a value, add `where`, such as"
        yield '# where = [{column = "rating", at_least = 4}]  (equals, one_of, at_least, below)'
        yield from ("[[actions]]", 'name = "interaction"', 'role = "target"', "")
        return
    yield "# A row is an event for every action whose conditions hold; without `where`, always."
    yield roles
    yield "# DECIDE whether every row is an action of its own, such as a play; drop this if not."
    yield from ("[[actions]]", f"name = {_text(DECIDE)}", f"role = {_text(DECIDE)}", "")
    for column in flags:
        used.add(column.name)
        yield "[[actions]]"
        yield f"name = {_text(column.name)}"
        yield f"role = {_text(DECIDE)}"
        yield f"where = [{{column = {_text(column.name)}, equals = true}}]"
        yield ""


def _facets(rest: Sequence[Column]) -> Iterable[str]:
    if rest:
        yield "# Facets. DECIDE each phase: request (known before the user acts) or outcome (only"
        yield "# after). An outcome taken for a request lets the model see what it has to predict."
    for column in rest:
        reason = _reason_to_leave(column)
        if reason:
            yield f"# left out: {column.name}, {reason}"
            continue
        yield "[[facets]]"
        yield f"name = {_text(_facet_name(column.name))}"
        if _facet_name(column.name) != column.name:
            yield f"column = {_text(column.name)}"
        yield from _facet_kind(column)
        yield f"# {_shown(column)}"
        yield ""


def _facet_kind(column: Column) -> Iterable[str]:
    name = column.name.lower()
    if column.dtype.is_nested():
        yield from ('kind = "multi_categorical"', f"phase = {_text(DECIDE)}")
    elif column.time:
        yield from ('kind = "instant"', f"phase = {_text(DECIDE)}")
        yield f"unit = {_text(column.time.unit.value)}"
        if column.needs_zone:
            yield f"zone = {_text(DECIDE)}"
    elif column.is_number and any(word in name for word in _LENGTH):
        unit = "ms" if re.search(r"(^|_)ms(_|$)|milli", name) else DECIDE
        yield 'kind = "duration"'
        yield 'phase = "outcome"  # how long something took is known only after'
        note = "" if unit == "ms" else "  # ms, s or min"
        yield f"unit = {_text(unit)}{note}"
    elif column.is_number and not column.is_flag and column.distinct > 20:
        yield from ('kind = "numeric"', f"phase = {_text(DECIDE)}")
    else:
        yield from ('kind = "categorical"', f"phase = {_text(DECIDE)}")


def _reason_to_leave(column: Column) -> str | None:
    if column.distinct == 0:
        return "no value at all"
    if column.distinct == 1 and not column.missing and not column.dtype.is_nested():
        return f"always {_text(column.values[0])}"
    is_word = not (column.is_number or column.time or column.dtype.is_nested())
    if is_word and column.distinct > _MAX_CATEGORIES:
        return f"{column.distinct:,} distinct values: more than a facet tells apart"
    return None


def _catalogue(items: Profile | None) -> Iterable[str]:
    yield "[catalogue]"
    if items is None:
        yield "# no catalogue: the items are those that events name, each from its first event on"
        yield f'kind = {_text(DECIDE)}  # DECIDE: what an item is, such as "track"'
        yield ""
        return
    yield from _layout(items)
    item = _one(items.columns, (*_ITEM, "id"))
    yield f"item_id = {_text(item.name if item else DECIDE)}{_why(item, items, 'which item')}"
    left = [c for c in items.columns if c is not item]
    kind = _one([c for c in left if c.distinct <= _MAX_ACTIONS], _KIND)
    if kind:
        yield f"kind = {{column = {_text(kind.name)}}}  # {_shown(kind)}"
    else:
        yield f'kind = {_text(DECIDE)}  # DECIDE: what an item is, such as "track"'
    used = {c.name for c in (item, kind) if c}
    for key, words in {**_TEXTS, "genres": _GENRES, "release_date": _RELEASE}.items():
        column = _one([c for c in left if c.name not in used], words)
        if column:
            used.add(column.name)
            yield f"{key} = {_text(column.name)}  # such as {_shown(column)}"
            if key == "genres" and not column.dtype.is_nested():
                yield f"separator = {_text(_separator(column))}"
    yield from _lengths([c for c in left if c.name not in used], used)
    for column in left:
        if column.name not in used:
            yield f"# left out: {column.name}, {_shown(column)}"
    yield ""


def _lengths(left: Sequence[Column], used: set[str]) -> Iterable[str]:
    runtime = _one([c for c in left if c.is_number], _RUNTIME)
    if runtime:
        used.add(runtime.name)
        found = re.search(r"_(ms|s|min)$", runtime.name.lower())
        unit = found.group(1) if found else DECIDE
        yield f"runtime = {{column = {_text(runtime.name)}, unit = {_text(unit)}}}  # ms, s or min"
    since = _one([c for c in left if c.time], _VALID_FROM)
    if since:
        yield from _time("valid_from", [since], used)
    else:
        yield "# no valid_from: every item is taken to be there from the log's first day on"


def _world() -> Iterable[str]:
    yield "[world]"
    yield "# first_day = 2026-01-01  # the log's own first and last day, unless they are given"
    yield "# last_day = 2026-01-31"
    yield 'recipe = "own_log"  # or "kuairand" for millions of tokens'
    yield "fine_tuned_days = 3  # the last days, which are fine-tuned and published one by one"


def _one(candidates: Sequence[Column], words: Sequence[str]) -> Column | None:
    """Return the only column that bears one of the names; two or none decide nothing."""
    found = [c for c in candidates if {_plain(c.name), _without_id(c.name)} & set(words)]
    return found[0] if len(found) == 1 else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _without_id(name: str) -> str:
    return _plain(re.sub(r"[_\- ]?id$", "", name, flags=re.IGNORECASE))


def _facet_name(name: str) -> str:
    """Return a name that a facet may have."""
    return f"{name}_facet" if name in TAKEN_NAMES else name


def _separator(column: Column) -> str:
    joined = "".join(column.values)
    return max(("|", ";", ","), key=joined.count)


def _why(column: Column | None, found: Profile, what: str) -> str:
    if column:
        return f"  # {_shown(column)}"
    return f"  # DECIDE: {what}; {_listed(found.columns)}"


def _listed(candidates: Sequence[Column]) -> str:
    return "one of " + ", ".join(column.name for column in candidates) if candidates else ""


def _shown(column: Column) -> str:
    examples = ", ".join(value[:24] for value in column.values[:3])
    missing = f", {column.missing:.1%} missing" if column.missing else ""
    return _comment(f"{column.distinct:,} distinct{missing}: {examples}")


def _comment(text: str) -> str:
    """Return text that stays on its line: values may hold anything."""
    return "".join(one if one.isprintable() else "?" for one in text)


def _text(value: str | list[str]) -> str:
    """Return a TOML text or list of texts."""
    # JSON's escapes are TOML's; DEL, which JSON leaves as it is, TOML forbids
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
